"""Avro bodies through fastavro: a struct to bytes, bytes to a struct, for one schema each."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import msgspec
from fastavro import schemaless_reader, schemaless_writer
from msgspec import Struct

from schemas.known_schemas import WriterSchema
from schemas.upcasters import Upcaster

#: A record to its framed bytes; whole framed bytes to a record.
Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Struct]


def encoder_for(schema: WriterSchema, prefix: bytes) -> Encode:
    """Writes records of one type behind ``prefix``."""
    parsed = schema.parsed

    def encode(record: Struct) -> bytes:
        buffer = BytesIO()
        buffer.write(prefix)
        schemaless_writer(buffer, parsed, msgspec.to_builtins(record, builtin_types=(bytes,)))
        return buffer.getvalue()

    return encode


def decoder_for(schema: WriterSchema, cls: type[Struct], start: int, upcasters: tuple[Upcaster, ...]) -> Decode:
    """Reads bodies that begin at ``start`` and were written with ``schema``, through its upcasters.

    What it returns raises all kinds of errors on broken bytes; the codec makes one of them.
    """
    parsed = schema.parsed

    def decode(raw: bytes) -> Struct:
        buffer = BytesIO(raw)
        buffer.seek(start)
        fields: Any = schemaless_reader(buffer, parsed, None)
        if buffer.tell() != len(raw):
            raise ValueError(f"{len(raw) - buffer.tell()} bytes too many")
        for upcast in upcasters:
            fields = upcast(fields)
        return msgspec.convert(fields, cls)

    return decode
