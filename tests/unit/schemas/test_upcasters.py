"""Records written with an older schema are read as current ones."""

import io
from typing import Any

import msgspec
import pytest
from fastavro import schemaless_writer

from schemas.avro_schema import schema_of
from schemas.errors import DecodeError
from schemas.events import TurnStarted
from schemas.framing import single_object_prefix
from schemas.known_schemas import KnownSchemas, WriterSchema
from schemas.serdes import Codec
from schemas.upcasters import UPCASTERS, Fields, Upcasters
from tests.unit.schemas.reading import AT
from tests.unit.schemas.samples import full, to_fields

CURRENT = KnownSchemas().current("TurnStarted").fingerprint.hex()


def _older(*, without: str = "", rename: tuple[str, str] = ("", ""), retype: tuple[str, Any] = ("", None)) -> Any:
    schema = schema_of(TurnStarted)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != without]
    for field in schema["fields"]:
        if field["name"] == retype[0]:
            field["type"] = retype[1]
            field.pop("default", None)
        if field["name"] == rename[0]:
            field["name"] = rename[1]
    return schema


def _write(schema: Any, fields: Fields) -> bytes:
    writer = WriterSchema(schema)
    buffer = io.BytesIO()
    schemaless_writer(buffer, writer.parsed, fields)
    return single_object_prefix(writer.fingerprint) + buffer.getvalue()


def test_decode_old_record_without_a_field_has_its_default() -> None:
    """Version 0 had no metadata: nothing to do but to know its schema."""
    schema = _older(without="metadata")
    event = full(TurnStarted)
    raw = _write(schema, to_fields(event))
    assert Codec(older_schemas=[schema]).decode_event(raw, **AT) == msgspec.structs.replace(event, metadata={})


def test_decode_old_record_with_a_renamed_field_goes_through_its_upcaster() -> None:
    """Version 0 called the agent an assistant."""
    schema = _older(rename=("agent", "assistant"))
    upcasters = Upcasters()

    @upcasters.register("TurnStarted", WriterSchema(schema).fingerprint.hex(), CURRENT)
    def _(fields: Fields) -> Fields:
        return {"agent": fields.pop("assistant"), **fields}

    event = full(TurnStarted)
    raw = _write(schema, {**to_fields(event), "assistant": event.agent})
    assert Codec(older_schemas=[schema], upcasters=upcasters).decode_event(raw, **AT) == event
    with pytest.raises(DecodeError, match="missing required field `agent`"):
        Codec(older_schemas=[schema]).decode_event(raw, **AT)


def test_decode_very_old_record_goes_through_every_step() -> None:
    """Version 0 is lifted to version 1, and from there to the current one."""
    first = _older(rename=("agent", "bot"), retype=("occurred_at", "double"))
    second = _older(rename=("agent", "assistant"))
    one, two = (WriterSchema(schema).fingerprint.hex() for schema in (first, second))
    upcasters = Upcasters()

    @upcasters.register("TurnStarted", one, two)
    def _(fields: Fields) -> Fields:
        milliseconds = int(fields.pop("occurred_at") * 1000)
        return {"assistant": fields.pop("bot"), "occurred_at": milliseconds, **fields}

    @upcasters.register("TurnStarted", two, CURRENT)
    def _(fields: Fields) -> Fields:
        return {"agent": fields.pop("assistant"), **fields}

    event = msgspec.structs.replace(full(TurnStarted), occurred_at=1_500)
    codec = Codec(older_schemas=[first, second], upcasters=upcasters)
    assert (
        codec.decode_event(_write(first, {**to_fields(event), "bot": event.agent, "occurred_at": 1.5}), **AT) == event
    )
    assert codec.decode_event(_write(second, {**to_fields(event), "assistant": event.agent}), **AT) == event
    assert codec.decode_event(codec.encode(event), **AT) == event


def test_decode_upcaster_that_fails_raises_the_typed_error() -> None:
    """A mistake in an upcaster is a dead letter with its cause, not a crash."""
    schema = _older(without="metadata")
    upcasters = Upcasters()

    @upcasters.register("TurnStarted", WriterSchema(schema).fingerprint.hex(), CURRENT)
    def _(fields: Fields) -> Fields:
        return {"oops": fields["nothing"]}

    with pytest.raises(DecodeError, match="nothing"):
        Codec(older_schemas=[schema], upcasters=upcasters).decode_event(
            _write(schema, to_fields(full(TurnStarted))), **AT
        )


def test_register_twice_or_in_a_circle_is_refused() -> None:
    """Each schema has one way up, and it ends."""
    upcasters = Upcasters()
    upcasters.register("T", "a", "b")(dict)
    upcasters.register("T", "b", "c")(dict)
    for start, end in (("a", "c"), ("c", "a"), ("d", "d")):
        with pytest.raises(ValueError, match="upcaster"):
            upcasters.register("T", start, end)


def test_upcasters_of_this_version_start_at_known_schemas() -> None:
    """An upcaster whose schema is not in avro/history never runs."""
    known = KnownSchemas()
    for name, fingerprint in UPCASTERS.starts():
        schema = known.by_fingerprint(bytes.fromhex(fingerprint))
        assert schema is not None
        assert schema.name == name
