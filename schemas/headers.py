"""Record headers: CloudEvents 1.0 (Kafka binding, binary mode) and the W3C trace context.

``ce_time`` is left out: it is optional, the record's own Kafka timestamp says it, and formatting it would cost more
than the rest together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import methodcaller
from typing import Any

from msgspec import Struct

from schemas.commands import EraseSession, UserMessage
from schemas.controls import ApproveTurn, CancelTurn, Control, DenyTurn
from schemas.dead_letters import DeadLetter, DeadLetterResolved
from schemas.ids import message_id_at
from schemas.record_types import Record
from schemas.tokens import Token

Headers = list[tuple[str, bytes]]

#: Pins the id of a re-routed or retried message to the place where it was first seen.
FIRST_SEEN = "barnabas-first-seen"

#: On a retried record: ``partition:offset`` of its dead letter.
RETRY_OF = "barnabas-retry-of"

#: confluent-kafka 2 returns a result *and* leaves the error set. Called from C it comes as a SystemError, here; the
#: interpreter's fast path for methods does not look, and it would come out of the caller's next call.
_call_headers = methodcaller("headers")

_CONTENT_TYPE = ("content-type", b"application/avro")

#: version 00-fe, trace id and parent id not all zero, flags; a version later than 00 may add fields.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-[\x20-\x7e]*)?"
)
_TRACEPARENT_LIMIT = 512
_PINNED_LIMIT = 256


def headers_for(record: Record, *, source: str, traceparent: str | None = None) -> Headers:
    """The headers of a record: ``ce_*``, ``content-type``, and ``traceparent`` where one is given.

    ``ce_id`` is an event's ``event_id``; ``turn_id:epoch.try:index`` of a token, with the writer's epoch behind it
    where that is another one; ``topic-partition-offset`` of a dead letter; a command's ``message_id``; of a control
    its order and target, such as ``cancel:t01ab``. A record without any of them is no CloudEvent, which cannot be
    without an id, and has no ``ce_*`` at all.

    Args:
        record: What the value holds.
        source: Who writes it, a URI reference such as ``/barnabas/worker-1``.
        traceparent: W3C trace context to pass on.
    """
    kind = type(record)
    identity = _IDENTITIES.get(kind, _event_identity)(record)
    if identity is None:
        headers = [_CONTENT_TYPE]
    else:
        headers = [*_static(kind, source), ("ce_id", identity.encode("utf-8", "replace"))]
        subject: str | None = getattr(record, "session_id", None)
        if subject is not None:
            headers.append(("ce_subject", subject.encode("utf-8", "replace")))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode("ascii", "replace")))
    return headers


def headers_of(message: Any) -> Iterable[tuple[str, bytes | None]]:
    """The headers of a ``confluent_kafka.Message``; none where a name is not UTF-8, which its client cannot read."""
    try:
        return _call_headers(message) or ()
    except (UnicodeDecodeError, SystemError):
        return ()


def pinned_id(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The message id that a re-routed or retried record is pinned to; None where it is none."""
    for name, value in headers:
        if name == FIRST_SEEN and value and len(value) <= _PINNED_LIMIT:
            return value.decode(errors="replace")
    return None


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
        _CONTENT_TYPE,
    )


def _event_identity(event: Any) -> str | None:
    identity: str | None = getattr(event, "event_id", None)
    return identity


def _token_identity(token: Token) -> str:
    attempt = token.attempt
    identity = f"{token.turn_id}:{attempt.epoch}.{attempt.number}:{token.index}"
    # A terminal token sent again by the next owner is another occurrence.
    return identity if token.epoch == attempt.epoch else f"{identity}:{token.epoch}"


def _control_identity(control: Control) -> str | None:
    target = control.turn_id or control.message_id
    return f"{control.__struct_config__.tag}:{target}" if target else None


#: Structs whose id is not an ``event_id``.
_IDENTITIES: dict[type[Struct], Callable[[Any], str | None]] = {
    Token: _token_identity,
    DeadLetter: lambda letter: message_id_at(letter.topic, letter.partition, letter.offset),
    DeadLetterResolved: lambda done: f"{done.partition}:{done.offset}:{done.how}",
    UserMessage: lambda command: command.message_id,
    EraseSession: lambda command: command.message_id,
    CancelTurn: _control_identity,
    ApproveTurn: _control_identity,
    DenyTurn: _control_identity,
}
