"""The codec: what goes in comes out, as fastavro would have written it."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given
from msgspec import Struct, convert, structs

from schemas.attempt import Attempt
from schemas.avro_schema import schema_of
from schemas.commands import EraseSession, UserMessage
from schemas.controls import CancelTurn
from schemas.dead_letters import DeadLetter, RecordHeader
from schemas.errors import EncodeError
from schemas.events import PartitionOpened, TurnCompleted, Usage
from schemas.known_schemas import KnownSchemas
from schemas.record_types import RECORDS
from schemas.serdes import Codec
from schemas.session import MemoryEntry, PartitionState, Session
from schemas.tokens import Token, TokenKind
from tests.unit.schemas.reading import AT, read
from tests.unit.schemas.samples import full, least, records, strategy_for, to_fields

CODEC = Codec()
KNOWN = KnownSchemas()


@given(records())
def test_encode_any_record_equals_fastavros_bytes(record: Any) -> None:
    """The compiled encoder and fastavro write the same single-object record."""
    schema = KNOWN.current(type(record).__name__)
    buffer = io.BytesIO(b"\xc3\x01" + schema.fingerprint)
    buffer.seek(10)
    schemaless_writer(buffer, schema.parsed, to_fields(record))
    assert CODEC.encode(record) == buffer.getvalue()


@given(records())
def test_decode_any_record_equals_it_and_what_fastavro_reads(record: Any) -> None:
    """Nothing is lost on the way, and fastavro reads the same."""
    raw = CODEC.encode(record)
    assert read(CODEC, type(record), raw) == record
    fields: Any = schemaless_reader(io.BytesIO(raw[10:]), KNOWN.current(type(record).__name__).parsed, None)
    assert convert(fields, type(record)) == record


#: A dead letter's headers are the one array of records that a user's bytes fill.
KNOWN_HEADER = parse_schema(schema_of(RecordHeader))


@given(strategy_for(DeadLetter))
def test_decode_blocks_of_negative_count_yields_the_same(letter: Any) -> None:
    """Other writers give a block's size in bytes behind a negative count."""
    schema = KNOWN.current("DeadLetter")
    plain, sized = io.BytesIO(), io.BytesIO()
    bare = structs.replace(letter, headers=[], session_id=None, message_id=None, bytes_left_out=0, retry_of=None)
    schemaless_writer(plain, schema.parsed, to_fields(bare))
    body, behind = plain.getvalue(), b"\x00" * 5  # an empty array, and what stands behind it
    assert body.endswith(behind)
    sized.write(b"\xc3\x01" + schema.fingerprint + body[: -len(behind)])
    for header in letter.headers:
        item = io.BytesIO()
        schemaless_writer(item, KNOWN_HEADER, to_fields(header))
        sized.write(b"\x01")
        schemaless_writer(sized, {"type": "long"}, len(item.getvalue()))
        sized.write(item.getvalue())
    sized.write(behind)
    assert CODEC.decode_dead_letter(sized.getvalue(), **AT).headers == letter.headers


@pytest.mark.parametrize("cls", RECORDS.values(), ids=list(RECORDS))
@pytest.mark.parametrize("make", [least, full])
def test_to_json_any_type_is_one_object_with_its_type(cls: type[Struct], make: Any) -> None:
    """For people: one line, the type's tag, and it reads back."""
    line = Codec.to_json(make(cls))
    assert b"\n" not in line
    shown = json.loads(line)
    tag = cls.__struct_config__.tag
    assert shown.get("type") == tag
    assert convert(shown, cls) == make(cls)


def test_to_json_token_shows_try_kind_and_base64() -> None:
    """The wire's names, not Python's; bytes in base64."""
    shown = json.loads(Codec.to_json(_token()))
    assert shown["attempt"] == {"epoch": 5, "try": 1}
    assert shown["kind"] == "delta"
    letter = DeadLetter(topic="t", partition=0, offset=1, cause="c", detail="d", occurred_at=0, value=b"\xff\x00")
    assert json.loads(Codec.to_json(letter))["value"] == "/wA="


def test_encode_lone_surrogates_writes_replacement_characters() -> None:
    """A provider's broken JSON yields text that is not Unicode: the turn goes on."""
    token = _token(text="a\ud800b \ud83d\ude00")
    assert CODEC.decode_token(CODEC.encode(token), **AT).text == "a\ufffdb 😀"
    assert json.loads(Codec.to_json(token))["text"] == "a\ufffdb 😀"
    session = Session(session_id="s", summary="\udfff")
    assert CODEC.decode_session(CODEC.encode_session(session)).summary == "\ufffd"


@pytest.mark.parametrize(
    "record",
    [
        Attempt(1, 2),
        _ := PartitionOpened(event_id="e", owner="o", generation=1 << 63, occurred_at=0),
        structs.replace(_, generation="1"),
        structs.replace(_, owner=None),
        structs.replace(_, generation=1.5),
        UserMessage(text="x", metadata={"a": 1}),  # type: ignore[dict-item]
        "text",
    ],
    ids=["no record", "65 bits", "text for a number", "None", "fraction", "number for text", "no struct"],
)
def test_encode_impossible_record_raises_encode_error(record: Any) -> None:
    """A value that the schema cannot hold is one typed error, whatever is wrong."""
    with pytest.raises(EncodeError):
        CODEC.encode(record)


def test_encode_topic_without_registry_changes_nothing() -> None:
    """The topic only names a registry's subject."""
    token = _token()
    assert CODEC.encode(token) == CODEC.encode(token, topic="barnabas.tokens")


@given(strategy_for(Session), strategy_for(PartitionState))
def test_values_any_session_and_partition_state_come_back(session: Any, state: Any) -> None:
    """The table's encoding loses nothing."""
    assert CODEC.decode_session(CODEC.encode_session(session)) == session
    assert CODEC.decode_partition_state(CODEC.encode_partition_state(state)) == state


def test_decode_session_of_other_versions_is_read() -> None:
    """A field that is gone is ignored, one that is new has its default."""
    entry = MemoryEntry(seq=0, role="user", text="hi", turn_id="t", occurred_at=1)

    class OlderSession(Struct):
        session_id: str
        mood: str
        memory: tuple[MemoryEntry, ...]

    older = OlderSession(session_id="s", mood="good", memory=(entry,))
    raw = CODEC._pack(older)  # type: ignore[arg-type]
    assert CODEC.decode_session(raw) == Session(session_id="s", memory=(entry,))


def test_encode_many_times_of_late_keeps_memory_bounded() -> None:
    """Varints of recent numbers are remembered, a bounded number of them, and stay right."""
    event = TurnCompleted(
        event_id="", session_id="", turn_id="", message_id="", attempt=Attempt(0), source_offset=0, occurred_at=0,
        decided_upto=0, text="", deltas=0, usage=Usage(),
    )  # fmt: skip
    from schemas.compiled_encoder import _VARINTS

    for offset in range(20_000):
        raw = CODEC.encode(structs.replace(event, source_offset=offset << 20))
        if offset % 1000 == 0:
            decoded = CODEC.decode_event(raw, **AT)
            assert isinstance(decoded, TurnCompleted)
            assert decoded.source_offset == offset << 20
    assert len(_VARINTS) <= 8192


def test_warm_then_encode_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was warmed is not loaded again under the event loop."""
    codec = Codec()
    codec.warm([Token, CancelTurn, EraseSession], topic="t")
    monkeypatch.setattr("schemas.known_schemas._read", None)
    assert codec.encode(_token(), topic="t")
    codec.close()


def test_import_codec_loads_neither_fastavro_nor_requests() -> None:
    """A command line that encodes nothing does not wait for them."""
    check = "import sys, schemas.serdes; print({'fastavro', 'requests', 'hashlib'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "set()"


def test_package_every_exported_name_is_there() -> None:
    """``from schemas import Name`` works for each name it says it has, and for no other."""
    import schemas

    for name in schemas.__all__:
        assert getattr(schemas, name) is not None
    with pytest.raises(AttributeError):
        _ = schemas.Nothing


def _token(text: str = "hello") -> Token:
    return Token(
        session_id="s", turn_id="t", message_id="m", attempt=Attempt(5, 1), epoch=5, index=3, kind=TokenKind.DELTA,
        occurred_at=1, text=text,
    )  # fmt: skip
