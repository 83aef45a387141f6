"""Finds what encodes a type and what decodes some bytes: by the schema they name, through its upcasters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from schemas.binary import Decode, Encode, decoder_for, encoder_for
from schemas.framing import (
    CONFLUENT,
    CONFLUENT_BODY,
    SINGLE_OBJECT,
    SINGLE_OBJECT_BODY,
    confluent_prefix,
    fingerprint_in,
    schema_id_in,
    single_object_prefix,
)
from schemas.known_schemas import KnownSchemas, WriterSchema
from schemas.record_types import RECORDS, full_name
from schemas.registry import SchemaRegistry
from schemas.upcasters import Upcasters


class UnknownSchemaError(Exception):
    """The bytes are framed well, and name a schema or type that this version does not know."""


class Resolver:
    """Makes encoders and decoders when a type or schema is first met, and keeps them.

    Args:
        registry_url: A schema registry's address, None to write the single-object encoding.
        older_schemas: Schemas to know beside the files.
        upcasters: How records of older schemas become current.

    Attributes:
        encoders: What was made so far, by struct and topic.
        decoders: What was made so far, by the first bytes of a single-object record.
    """

    def __init__(self, registry_url: str | None, older_schemas: Iterable[dict[str, Any]], upcasters: Upcasters) -> None:
        self.encoders: dict[tuple[type[Struct], str | None], Encode] = {}
        self.decoders: dict[bytes, Decode] = {}
        self._by_id: dict[int, Decode] = {}
        self._known = KnownSchemas(older_schemas)
        self._upcasters = upcasters
        self._registry = SchemaRegistry(registry_url) if registry_url else None

    def encoder(self, kind: type[Struct], topic: str | None) -> Encode:
        """The encoder of a struct for a topic.

        Raises:
            TypeError: The struct is no record of ours.
            EncodeError: The registry refuses its schema.
            RegistryUnavailableError: The registry did not answer.
        """
        found = self.encoders.get((kind, topic))
        if found is not None:
            return found
        if RECORDS.get(kind.__name__) is not kind:
            raise TypeError(f"{kind.__name__} is not a record; known are {', '.join(RECORDS)}")
        schema = self._known.current(kind.__name__)
        if self._registry is None:
            prefix = single_object_prefix(schema.fingerprint)
        else:
            name = full_name(kind)
            subject = name if topic is None else f"{topic}-{name}"
            prefix = confluent_prefix(self._registry.id_of(subject, schema.text))
        encode = self.encoders[kind, topic] = encoder_for(schema, kind, prefix)
        return encode

    def decoder(self, raw: bytes) -> Decode:
        """The decoder of the schema that framed bytes name.

        Raises:
            ValueError: Not framed, or framed in a way that cannot be read here; the text says which.
            UnknownSchemaError: This version does not know the schema or its type.
            RegistryUnavailableError: The registry did not answer.
        """
        if raw[0] == SINGLE_OBJECT:
            fingerprint = fingerprint_in(raw)
            schema = self._known.by_fingerprint(fingerprint)
            if schema is None:
                raise UnknownSchemaError(f"unknown Avro schema, fingerprint {fingerprint.hex()}")
            decode = self.decoders[raw[:SINGLE_OBJECT_BODY]] = self._decoder_of(schema, SINGLE_OBJECT_BODY)
            return decode
        if raw[0] != CONFLUENT:
            raise ValueError(f"neither Avro nor JSON: first byte {raw[0]:02x}")
        schema_id = schema_id_in(raw)
        if self._registry is None:
            raise ValueError(
                f"Confluent wire format, schema {schema_id}, and no registry: set BARNABAS_SCHEMA_REGISTRY_URL"
            )
        found = self._by_id.get(schema_id)
        if found is None:
            text = self._registry.schema_of(schema_id)
            if text is None:
                raise ValueError(f"the schema registry has no schema {schema_id}")
            found = self._by_id[schema_id] = self._decoder_of(WriterSchema(json.loads(text)), CONFLUENT_BODY)
        return found

    def close(self) -> None:
        """Closes the connection to the registry, if there is one."""
        if self._registry is not None:
            self._registry.close()

    def _decoder_of(self, schema: WriterSchema, start: int) -> Decode:
        cls = RECORDS.get(schema.name)
        if cls is None:
            raise UnknownSchemaError(f"unknown type {schema.name}")
        steps = self._upcasters.path(schema.name, schema.fingerprint.hex())
        return decoder_for(schema, cls, start, steps)
