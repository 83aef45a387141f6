"""What stands before an Avro body, and tells the formats apart by their first byte.

::

    C3 01 + fingerprint (8, little-endian) + body   single-object encoding of the Avro specification
    00    + schema id (4, big-endian)      + body   Confluent's wire format
    {, space, tab, newline or BOM                   JSON
"""

from __future__ import annotations

SINGLE_OBJECT = 0xC3
CONFLUENT = 0x00
SINGLE_OBJECT_MARK = b"\xc3\x01"
SINGLE_OBJECT_BODY = 10
CONFLUENT_BODY = 5
#: ``{``, and what may stand before it: white space, and the byte order mark of some editors.
JSON_STARTS = frozenset(b"{ \t\r\n\xef")


def single_object_prefix(fingerprint: bytes) -> bytes:
    """What stands before the body of a record written with that schema (10 bytes)."""
    return SINGLE_OBJECT_MARK + fingerprint


def confluent_prefix(schema_id: int) -> bytes:
    """What stands before the body of a record whose schema has that id in the registry (5 bytes)."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def fingerprint_in(raw: bytes) -> bytes:
    """The fingerprint of a single-object record.

    Raises:
        ValueError: Too short, or another version of the encoding.
    """
    if raw[:2] != SINGLE_OBJECT_MARK or len(raw) < SINGLE_OBJECT_BODY:
        raise ValueError("not a whole single-object header (C3 01 and 8 bytes)")
    return raw[2:SINGLE_OBJECT_BODY]


def schema_id_in(raw: bytes) -> int:
    """The schema id of a record in Confluent's wire format.

    Raises:
        ValueError: Too short.
    """
    if len(raw) < CONFLUENT_BODY:
        raise ValueError("not a whole Confluent header (00 and 4 bytes)")
    return int.from_bytes(raw[1:CONFLUENT_BODY], "big")
