"""The Avro schemas this version can read: the current ``.avsc`` files, and every older one in ``avro/history``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from schemas.record_types import NAMESPACE, RECORDS

AVRO_DIR = Path(__file__).with_name("avro")

AvroSchema = dict[str, Any]


class WriterSchema:
    """A schema that some record was written with.

    Attributes:
        name: The record's type, without the namespace: ``TurnStarted``.
        fingerprint: CRC-64-AVRO of the Parsing Canonical Form, 8 bytes, little-endian as on the wire.
        text: The schema as JSON text.
        parsed: What fastavro works with.
    """

    __slots__ = ("fingerprint", "name", "parsed", "text")

    def __init__(self, schema: Any) -> None:
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise ValueError("the schema is not a record")
        from fastavro import parse_schema  # here and below: 15 ms that an import of the codec does not pay

        self.text = json.dumps(schema, separators=(",", ":"))
        self.parsed: AvroSchema = parse_schema(schema)
        namespace, _, self.name = str(self.parsed["name"]).rpartition(".")
        if namespace != NAMESPACE:
            raise ValueError(f"{self.parsed['name']} is not in the namespace {NAMESPACE}")
        _refuse_free_items(self.parsed)
        self.fingerprint = fingerprint_of(schema)


class KnownSchemas:
    """Finds a schema by struct or by fingerprint; files are read when first needed.

    Args:
        older: Schemas to know beside the files, as if they lay in the history.
    """

    def __init__(self, older: Iterable[AvroSchema] = ()) -> None:
        self._older = [WriterSchema(schema) for schema in older]
        self._current: dict[str, WriterSchema] = {}
        self._by_fingerprint: dict[bytes, WriterSchema] | None = None

    def current(self, name: str) -> WriterSchema:
        """The schema that records of a type are written with now."""
        schema = self._current.get(name)
        if schema is None:
            schema = self._current[name] = WriterSchema(_read(AVRO_DIR / f"{name}.avsc"))
        return schema

    def by_fingerprint(self, crc: bytes) -> WriterSchema | None:
        """The schema of a single-object record, None where this version does not know it."""
        if self._by_fingerprint is None:
            history = [WriterSchema(_read(path)) for path in sorted((AVRO_DIR / "history").glob("*.avsc"))]
            known = [*self._older, *history, *map(self.current, RECORDS)]
            self._by_fingerprint = {schema.fingerprint: schema for schema in known}
        return self._by_fingerprint.get(crc)


def fingerprint_of(schema: AvroSchema) -> bytes:
    """CRC-64-AVRO of the schema's Parsing Canonical Form: 8 bytes in the order of the wire (little-endian)."""
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    # fastavro returns the bytes in the order of Java's reference implementation, which is the wire's.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _read(path: Path) -> AvroSchema:
    schema: AvroSchema = json.loads(path.read_text("utf-8"))
    return schema


def _refuse_free_items(schema: Any) -> None:
    """An array of items that take no bytes lets ten bytes claim 2**62 of them: no schema of ours has one.

    Raises:
        ValueError: The schema has such an array.
    """
    if isinstance(schema, list):
        for branch in schema:
            _refuse_free_items(branch)
    elif isinstance(schema, dict):
        items = schema.get("items")
        if items is not None and _is_free(items):
            raise ValueError("an array's items take no bytes")
        for part in (items, schema.get("values"), *(field["type"] for field in schema.get("fields", ()))):
            _refuse_free_items(part)


def _is_free(schema: Any) -> bool:
    """Whether every value of the schema may take no bytes at all."""
    if not isinstance(schema, dict):
        return bool(schema == "null")
    if schema["type"] == "fixed":
        return not schema["size"]
    return schema["type"] == "null" or (
        schema["type"] == "record" and all(_is_free(field["type"]) for field in schema["fields"])
    )
