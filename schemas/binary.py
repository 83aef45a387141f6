"""Avro bodies: compiled functions for the structs as they are, fastavro for whatever was written otherwise."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec
from msgspec import Struct

from schemas.avro_schema import schema_of
from schemas.compiled_decoder import compile_decoder
from schemas.compiled_encoder import compile_encoder
from schemas.known_schemas import WriterSchema, fingerprint_of
from schemas.upcasters import Upcaster

#: A record to its framed bytes; whole framed bytes to a record.
Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Struct]


def encoder_for(schema: WriterSchema, cls: type[Struct], prefix: bytes) -> Encode:
    """Writes records of one type behind ``prefix``.

    Raises:
        TypeError: The schema is not the struct's: its ``.avsc`` file is stale, and bytes would be mislabelled.
    """
    if not _is_schema_of(schema, cls):
        raise TypeError(f"{cls.__name__}.avsc is stale; run python -m schemas.avro_schema --write")
    return compile_encoder(cls, prefix)


def decoder_for(schema: WriterSchema, cls: type[Struct], start: int, upcasters: tuple[Upcaster, ...]) -> Decode:
    """Reads bodies that begin at ``start`` and were written with ``schema``, through its upcasters.

    What it returns raises all kinds of errors on broken bytes; the codec makes one of them.
    """
    if not upcasters and _is_schema_of(schema, cls):
        return compile_decoder(cls, start)
    from fastavro import schemaless_reader

    parsed = schema.parsed

    def decode(raw: bytes) -> Struct:
        buffer = BytesIO(raw)
        buffer.seek(start)
        fields: Any = schemaless_reader(buffer, parsed, None)
        if buffer.tell() != len(raw):
            raise ValueError(f"{len(raw) - buffer.tell()} bytes too many")
        for upcast in upcasters:
            fields = upcast(fields)
        # An older schema may have a field named like msgspec's tag, which would be taken for the type's name.
        fields.pop("type", None)
        return msgspec.convert(fields, cls)

    return decode


def _is_schema_of(schema: WriterSchema, cls: type[Struct]) -> bool:
    """Whether bytes of this schema are laid out as the struct is."""
    return schema.fingerprint == fingerprint_of(schema_of(cls))
