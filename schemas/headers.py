"""Record headers: CloudEvents 1.0 (Kafka binding, binary mode) and the W3C trace context.

``ce_time`` is left out: it is optional, the record's own Kafka timestamp says it, and formatting it would cost more
than the rest together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import Struct

from schemas.commands import EraseSession, UserMessage
from schemas.controls import ApproveTurn, CancelTurn, DenyTurn
from schemas.dead_letters import DeadLetter
from schemas.record_types import Record
from schemas.tokens import Token

Headers = list[tuple[str, bytes]]

#: version 00-fe, trace id and parent id not all zero, flags; a version later than 00 may add fields.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-[\x20-\x7e]*)?"
)
_TRACEPARENT_LIMIT = 512
_COMMANDS = (UserMessage, EraseSession, CancelTurn, ApproveTurn, DenyTurn)


def headers_for(record: Record, *, source: str, traceparent: str | None = None) -> Headers:
    """The headers of a record: ``ce_*``, ``content-type``, and ``traceparent`` where one is given.

    ``ce_id`` is an event's ``event_id``; ``turn_id:epoch.try:index`` of a token, with the writer's epoch behind it
    where that is another one; ``topic-partition-offset`` of a dead letter; the ``message_id`` of a command that has
    one. ``source`` and ``ce_id`` together name one occurrence.

    Args:
        record: What the value holds.
        source: Who writes it, a URI reference such as ``/barnabas/worker-1``.
        traceparent: W3C trace context to pass on.
    """
    headers = [*_static(type(record), source)]
    if isinstance(record, Token):
        attempt = record.attempt
        identity: str | None = f"{record.turn_id}:{attempt.epoch}.{attempt.number}:{record.index}"
        if record.epoch != attempt.epoch:
            identity = f"{identity}:{record.epoch}"
    elif isinstance(record, DeadLetter):
        identity = f"{record.topic}-{record.partition}-{record.offset}"
    elif isinstance(record, _COMMANDS):
        identity = record.message_id
    else:
        identity = getattr(record, "event_id", None)
    subject: str | None = getattr(record, "session_id", None)
    if identity is not None:
        headers.append(("ce_id", identity.encode("utf-8", "replace")))
    if subject is not None:
        headers.append(("ce_subject", subject.encode("utf-8", "replace")))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode("ascii", "replace")))
    return headers


def traceparent_of(headers: Mapping[str, bytes] | Iterable[tuple[str, bytes | None]] | None) -> str | None:
    """The W3C ``traceparent`` among a record's headers; None where there is none, or none of its form."""
    if not headers:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for name, value in pairs:
        if name == "traceparent" and isinstance(value, bytes) and len(value) <= _TRACEPARENT_LIMIT:
            return valid_traceparent(value.decode("ascii", "replace"))
    return None


def valid_traceparent(text: str | None) -> str | None:
    """The text where it has the form of a W3C ``traceparent``, else None."""
    match = _TRACEPARENT.fullmatch(text) if text else None
    # Version 00 ends with its flags.
    return None if match is None or (match["more"] is not None and match[0].startswith("00")) else match[0]


@lru_cache(maxsize=256)
def _static(kind: type[Struct], source: str) -> tuple[tuple[str, bytes], ...]:
    """What all records of a type and a writer have in common."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", f"barnabas.{kind.__name__}".encode()),
        ("ce_source", source.encode("utf-8", "replace")),
        ("content-type", b"application/avro"),
    )
