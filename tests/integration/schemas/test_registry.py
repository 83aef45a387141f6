"""Confluent's wire format, against a registry on loopback."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastavro import schemaless_writer
from msgspec import structs

from schemas.avro_schema import schema_of
from schemas.errors import DecodeError, EncodeError, RegistryUnavailableError, UnknownEventError
from schemas.events import TurnStarted
from schemas.known_schemas import WriterSchema
from schemas.record_types import RECORDS
from schemas.serdes import Codec
from schemas.tokens import Token
from schemas.upcasters import Fields, Upcasters
from tests.integration.schemas.registry_server import RegistryServer, running_registry
from tests.unit.schemas.reading import AT, read
from tests.unit.schemas.samples import full, least, to_fields

MakeCodec = Callable[..., Codec]


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    """A registry of the test's own."""
    with running_registry() as server:
        yield server


@pytest.fixture
def make_codec(registry: RegistryServer) -> Iterator[MakeCodec]:
    """A factory of codecs that use the registry, closed with the test."""
    made: list[Codec] = []

    def make(**options: Any) -> Codec:
        made.append(Codec(registry_url=registry.url, **options))
        return made[-1]

    yield make
    for codec in made:
        codec.close()


def _confluent(schema_id: int, schema: dict[str, Any], fields: Fields) -> bytes:
    buffer = io.BytesIO(b"\x00" + schema_id.to_bytes(4, "big"))
    buffer.seek(5)
    schemaless_writer(buffer, WriterSchema(schema).parsed, fields)
    return buffer.getvalue()


def test_encode_with_registry_every_type_comes_back_by_its_id(make_codec: MakeCodec) -> None:
    """One codec writes, another that has registered nothing reads."""
    writer, reader = make_codec(), make_codec()
    for name, cls in RECORDS.items():
        if name in {"Session", "PartitionState"}:
            continue
        for record in (full(cls), least(cls)):
            raw = writer.encode(record, topic="barnabas.any")
            assert raw[0] == 0
            assert read(reader, cls, raw) == record


def test_encode_with_registry_names_subjects_by_topic_and_record(
    registry: RegistryServer, make_codec: MakeCodec
) -> None:
    """TopicRecordNameStrategy, for topics that hold many types; the record's name alone without a topic."""
    codec = make_codec()
    first = codec.encode(full(Token), topic="barnabas.tokens")
    second = codec.encode(full(Token))
    assert first == second
    assert set(registry.subjects) == {"barnabas.tokens-barnabas.v1.Token", "barnabas.v1.Token"}


def test_encode_and_decode_many_ask_the_registry_once(registry: RegistryServer, make_codec: MakeCodec) -> None:
    """One registration for each subject, one look-up for each id."""
    writer, reader = make_codec(), make_codec()
    writer.warm([Token], topic="t")
    for _ in range(20):
        reader.decode_token(writer.encode(full(Token), topic="t"), **AT)
    assert registry.requests == ["POST /subjects/t-barnabas.v1.Token/versions", "GET /schemas/ids/1"]


def test_decode_single_object_with_registry_is_read(make_codec: MakeCodec) -> None:
    """Switching the registry on does not orphan what was written before."""
    assert make_codec().decode_token(Codec().encode(full(Token)), **AT) == full(Token)


def test_decode_older_schema_of_the_registry_goes_through_its_upcaster(
    registry: RegistryServer, make_codec: MakeCodec
) -> None:
    """The writer's schema comes from the registry, a default and an upcaster do the rest."""
    import json

    schema = schema_of(TurnStarted)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "metadata"]
    for field in schema["fields"]:
        field["name"] = "assistant" if field["name"] == "agent" else field["name"]
    upcasters = Upcasters()

    @upcasters.register("TurnStarted", WriterSchema(schema).fingerprint.hex(), "0" * 16)
    def _(fields: Fields) -> Fields:
        return {"agent": fields.pop("assistant"), **fields}

    event = full(TurnStarted)
    schema_id = registry.register("s", {"schema": json.dumps(schema)})
    raw = _confluent(schema_id, schema, {**to_fields(event), "assistant": event.agent})
    expected = structs.replace(event, metadata={})
    assert make_codec(upcasters=upcasters).decode_event(raw, **AT) == expected


def test_decode_unknown_id_is_undecodable_and_asked_once(registry: RegistryServer, make_codec: MakeCodec) -> None:
    """Foreign bytes that begin with 00 do not become a request each."""
    codec = make_codec()
    for _ in range(5):
        with pytest.raises(DecodeError, match="the schema registry has no schema 99"):
            codec.decode_token(b"\x00\x00\x00\x00\x63body", **AT)
    assert registry.requests == ["GET /schemas/ids/99"]


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": '{"type": "object"}', "schemaType": "JSON"},
        {"schema": '"string"'},
        {"schema": "{"},
        {"schema": '{"type": "record", "name": "other.Thing", "fields": []}'},
        {"schema": '{"type": "record", "name": "barnabas.v1.Token", "fields": [{"name": "a", "type": "B"}]}'},
        {"schema": '"string"', "references": [{"name": "B"}]},
        {"schema": 5},
    ],
    ids=str,
)
def test_decode_foreign_schema_raises_the_typed_error(
    registry: RegistryServer, make_codec: MakeCodec, answer: dict[str, Any]
) -> None:
    """Other teams keep other schemas in the same registry."""
    schema_id = registry.register("s", answer)
    with pytest.raises(DecodeError):
        make_codec().decode_event(b"\x00" + schema_id.to_bytes(4, "big") + b"body", **AT)


def test_decode_type_of_a_newer_version_raises_unknown_event(registry: RegistryServer, make_codec: MakeCodec) -> None:
    """As with a fingerprint: fold rule 6."""
    schema = '{"type": "record", "name": "barnabas.v1.TurnDreamt", "fields": [{"name": "a", "type": "string"}]}'
    schema_id = registry.register("s", {"schema": schema})
    with pytest.raises(UnknownEventError, match="TurnDreamt"):
        make_codec().decode_event(b"\x00" + schema_id.to_bytes(4, "big") + b"\x02a", **AT)


@pytest.mark.parametrize("status", [500, 503, 401, 429])
def test_registry_that_fails_is_retryable(registry: RegistryServer, make_codec: MakeCodec, status: int) -> None:
    """Nothing is known of the bytes, so they must not become a dead letter."""
    codec = make_codec()
    raw = make_codec().encode(full(Token))
    registry.status = status
    with pytest.raises(RegistryUnavailableError):
        codec.decode_token(raw, **AT)
    with pytest.raises(RegistryUnavailableError):
        codec.encode(full(Token))
    registry.status = 0
    assert codec.decode_token(raw, **AT) == full(Token)


def test_registry_that_is_gone_is_retryable_and_known_schemas_go_on(
    registry: RegistryServer, make_codec: MakeCodec
) -> None:
    """A stopped registry hinders only what it was not asked for before; the password stays out of the text."""
    codec = make_codec()
    raw = codec.encode(full(Token))
    gone = Codec(registry_url="http://user:secret@127.0.0.1:1")
    with pytest.raises(RegistryUnavailableError) as caught:
        gone.decode_token(raw, **AT)
    assert "secret" not in str(caught.value)
    gone.close()
    registry.status = 503
    assert codec.decode_token(codec.encode(full(Token)), **AT) == full(Token)


def test_registry_that_refuses_raises_encode_error(registry: RegistryServer, make_codec: MakeCodec) -> None:
    """An incompatible schema never gets better by trying again."""
    registry.status = 409
    with pytest.raises(EncodeError, match=r"refuses t-barnabas.v1.Token \(409\): told to"):
        make_codec().encode(full(Token), topic="t")
