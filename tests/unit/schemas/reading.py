"""Reads a record with the codec's method for its family."""

from typing import Any

from msgspec import Struct

from schemas.binary import decoder_for
from schemas.known_schemas import KnownSchemas
from schemas.record_types import COMMANDS, CONTROLS, EVENTS, TOKENS, VALUES
from schemas.serdes import Codec
from schemas.upcasters import UPCASTERS

_KNOWN = KnownSchemas()

AT: dict[str, Any] = {"topic": "some.topic", "partition": 3, "offset": 77}


def read(codec: Codec, cls: type[Struct], raw: bytes | None) -> Any:
    """The record, read as one of its struct's family."""
    if cls in COMMANDS:
        return codec.decode_command(raw, **AT)
    if cls in CONTROLS:
        return codec.decode_control(raw, **AT)
    if cls in EVENTS:
        return codec.decode_event(raw, **AT)
    if cls in TOKENS:
        return codec.decode_token(raw, **AT)
    if cls in VALUES:
        # No topic holds them as Avro; the schema is still theirs.
        schema = _KNOWN.by_fingerprint((raw or b"")[2:10])
        assert schema is not None
        steps = UPCASTERS.path(schema.name, schema.fingerprint.hex())
        return decoder_for(schema, cls, 10, steps)(raw or b"")
    return codec.decode_dead_letter(raw, **AT)


def readers(codec: Codec) -> list[Any]:
    """Every method that reads a record of a topic."""
    return [
        codec.decode_command,
        codec.decode_control,
        codec.decode_event,
        codec.decode_token,
        codec.decode_dead_letter,
    ]
