"""Bytes that are nothing: one typed error with their place and a cause, quickly, and never a crash."""

import contextlib
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.commands import UserMessage
from schemas.errors import DecodeError, UnknownEventError
from schemas.events import TurnStarted
from schemas.framing import single_object_prefix
from schemas.known_schemas import KnownSchemas, WriterSchema
from schemas.record_types import RECORDS
from schemas.serdes import Codec
from schemas.tokens import Token
from tests.unit.schemas.reading import AT, read, readers
from tests.unit.schemas.samples import full, records

CODEC = Codec()
KNOWN = KnownSchemas()


_OLDER = {
    "type": "record", "name": "barnabas.v1.TurnStarted",
    "fields": [
        {"name": "event_id", "type": ["null", "string", {"type": "array", "items": "long"}]},
        {"name": "metadata", "type": {"type": "map", "values": "string"}},
        {"name": "text", "type": "bytes"},
    ],
}  # fmt: skip
OLDER = Codec(older_schemas=[_OLDER])
OLDER_PREFIX = single_object_prefix(OLDER._resolver._known._older[0].fingerprint)


def _survives(raw: Any) -> None:
    for method in readers(CODEC):
        try:
            method(raw, **AT)
        except DecodeError as error:
            assert (error.topic, error.partition, error.offset) == ("some.topic", 3, 77)  # noqa: PT017
            assert error.cause  # noqa: PT017
            assert len(error.cause) < 400  # noqa: PT017
        except UnknownEventError as error:
            assert "some.topic-3@77" in str(error)  # noqa: PT017
            assert method == CODEC.decode_event


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc3")
@example(b"\xc3\x01")
@example(b"\xc3\x02" + bytes(20))
@example(b"\x00")
@example(b"\x00\x00\x00\x00\x01abc")
def test_decode_random_bytes_raises_the_typed_error(raw: bytes) -> None:
    """Any bytes at all."""
    _survives(raw)


@given(st.binary(max_size=200), st.sampled_from(["UserMessage", "CancelTurn", "TurnStarted", "Token", "DeadLetter"]))
def test_decode_random_body_raises_the_typed_error(body: bytes, name: str) -> None:
    """Any bytes behind a sound header."""
    _survives(single_object_prefix(KNOWN.current(name).fingerprint) + body)


@given(records(), st.data())
def test_decode_truncated_record_raises_the_typed_error(record: Any, data: st.DataObject) -> None:
    """A record that ends early is never taken for a whole one."""
    raw = CODEC.encode(record)
    raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    for method in readers(CODEC):
        with pytest.raises((DecodeError, UnknownEventError)):
            method(raw, **AT)


@given(records(), st.data())
def test_decode_flipped_bits_never_crashes(record: Any, data: st.DataObject) -> None:
    """A flipped bit may yield another record, or the typed error."""
    raw = bytearray(CODEC.encode(record))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _survives(bytes(raw))


@given(records(), st.binary(min_size=1, max_size=5))
def test_decode_bytes_behind_the_record_raise_the_typed_error(record: Any, more: bytes) -> None:
    """A record is the whole value."""
    raw = CODEC.encode(record) + more
    for method in readers(CODEC):
        with pytest.raises(DecodeError):
            method(raw, **AT)


_HUGE = [b"\xff" * 9 + b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01", b"\xfe\xff\xff\xff\x0f", b"\xff" * 40, b"\x80" * 30]


@pytest.mark.parametrize("number", _HUGE, ids=lambda number: number.hex()[:24])
@pytest.mark.parametrize("name", ["TurnStarted", "StepCompleted", "UserMessage", "DeadLetter", "Token"])
def test_decode_huge_claims_at_any_place_cost_nothing(number: bytes, name: str) -> None:
    """Lengths, counts and numbers of up to 2**63, negative and endless, instead of each byte of a record."""
    raw = CODEC.encode(full(RECORDS[name]))
    tracemalloc.start()
    started = time.process_time()
    for at in range(10, len(raw), 3):
        for broken in (raw[:at] + number + raw[at + 1 :], raw[:at] + number):
            with contextlib.suppress(DecodeError):
                read(CODEC, RECORDS[name], broken)
    spent = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert spent < 0.01 * len(raw)


def test_decode_huge_count_in_an_older_schema_costs_nothing() -> None:
    """As above where fastavro reads: a record of an older schema."""
    older = {
        "type": "record", "name": "barnabas.v1.TurnStarted",
        "fields": [
            {"name": "metadata", "type": {"type": "map", "values": "string"}},
            {"name": "event_id", "type": "string"},
            {"name": "parts", "type": {"type": "array", "items": "string"}},
        ],
    }  # fmt: skip
    codec = Codec(older_schemas=[older])
    prefix = single_object_prefix(WriterSchema(older).fingerprint)
    tracemalloc.start()
    for before in (b"", b"\x00", b"\x00\x00"):
        for number in _HUGE:
            for after in (b"", b"\x02a", b"\xff" * 9 + b"\x01"):
                with pytest.raises(DecodeError):
                    codec.decode_event(prefix + before + number + after, **AT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@given(st.binary(max_size=200))
def test_decode_older_schema_random_body_raises_the_typed_error(body: bytes) -> None:
    """Any bytes behind the header of an older schema."""
    with pytest.raises(DecodeError):
        OLDER.decode_event(OLDER_PREFIX + body, **AT)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (None, "no value"),
        (b"", "no value"),
        (b"hello", "first byte 68"),
        (b"\xc3\x02" + bytes(20), "single-object"),
        (b"\xc3\x01" + bytes(20), "unknown Avro schema, fingerprint 0000000000000000"),
        (b"\x00\x00\x00\x00\x07body", "BARNABAS_SCHEMA_REGISTRY_URL"),
        (b"\x00\x00", "Confluent header"),
        (b'{"type": "greet"}', "unknown type 'greet'; known types: message, erase"),
        (b'{"type": 5}', "Expected `str`"),
        (b'{"type": null, "text": "x"}', "Expected `str`"),
        (b"{}", "missing required field `text`"),
        (b'{"text": 5}', "Expected `str`, got `int` - at `$.text`"),
        (b'{"text": "x", "metadata": {"a": 1}}', "Expected `str`"),
        (b'{"text": "x", "metadata": [1]}', "Expected `object`"),
        (b'{"text": "\xff"}', ""),
        (b'{"text": "\\ud800"}', ""),
        (b'{"text": "x", "deadline_ms": 9223372036854775808}', "9223372036854775807"),
        (b'{"text": "x", "limits": {"a": 1e30}}', "Expected `int"),
        (b'{"text": "x"} more', "trailing"),
        (b'{"text": "x"', "truncated"),
        (b'{"text": "x", 5: 6}', "malformed"),
        (b'{"text": "x", "other": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"other": ' + b'{"a":' * 100_000, "nested too deeply"),
        (b" " * 100_000, ""),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_decode_command_bad_bytes_names_the_cause(raw: bytes | None, cause: str) -> None:
    """What the dead letter will say."""
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_command(raw, **AT)
    assert cause in caught.value.cause


def test_decode_control_without_type_names_the_known_ones() -> None:
    """A control has no default: cancelling by mistake is not."""
    with pytest.raises(DecodeError, match="no type; known types: cancel, approve, deny"):
        CODEC.decode_control(b'{"turn_id": "t"}', **AT)


def test_decode_record_of_another_family_names_it() -> None:
    """A sound record on the wrong topic."""
    with pytest.raises(DecodeError, match="a Token does not belong here"):
        CODEC.decode_event(CODEC.encode(full(Token)), **AT)
    with pytest.raises(DecodeError, match="a TurnStarted does not belong here"):
        CODEC.decode_command(CODEC.encode(full(TurnStarted)), **AT)


def test_decode_event_unknown_schema_raises_unknown_event() -> None:
    """A newer version's event stops the partition (fold rule 6); elsewhere it is a dead letter."""
    raw = b"\xc3\x01" + b"12345678" + b"body"
    with pytest.raises(UnknownEventError, match=r"some.topic-3@77: unknown Avro schema, fingerprint 3132333435363738"):
        CODEC.decode_event(raw, **AT)
    with pytest.raises(DecodeError):
        CODEC.decode_token(raw, **AT)


def test_decode_event_of_a_type_that_is_gone_raises_unknown_event() -> None:
    """The schema is known, its type is not."""
    gone = {"type": "record", "name": "barnabas.v1.TurnDreamt", "fields": [{"name": "a", "type": "string"}]}
    codec = Codec(older_schemas=[gone])
    with pytest.raises(UnknownEventError, match="unknown type TurnDreamt"):
        codec.decode_event(single_object_prefix(WriterSchema(gone).fingerprint) + b"\x02a", **AT)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists) | st.text())
def test_decode_any_json_never_crashes(value: Any) -> None:
    """Any JSON, as a whole and in each field."""
    _survives(json.dumps(value).encode())
    for name in ("type", "text", "metadata", "priority", "attachments", "use_cache", "other", "turn_id"):
        with contextlib.suppress(DecodeError):
            CODEC.decode_command(json.dumps({"text": "x", name: value}).encode(), **AT)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"text": "hello"}',
        b'\xef\xbb\xbf{"text": "hello"}',
        b'\r\n\t {"text": "hello", "later": [{"x": null}], "type": "message"}',
        b'{"text": "first", "text": "hello"}',
    ],
)
def test_decode_command_json_by_hand_is_a_message(raw: bytes) -> None:
    """A byte order mark, white space, unknown and repeated fields do no harm."""
    assert CODEC.decode_command(raw, **AT) == UserMessage(text="hello")
