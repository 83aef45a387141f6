"""What ``dead-letters`` holds: a record that could not be handled, whole, with where it lay and why."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field


class RecordHeader(Struct, frozen=True, kw_only=True):
    """One header of a record that was put aside.

    Attributes:
        name: Its name; U+FFFD stands for what is not UTF-8.
        value: Its value's bytes, None where it had none.
        raw_name: The name's bytes, where they are not UTF-8.
    """

    name: str
    value: bytes | None = None
    raw_name: bytes | None = None


class DeadLetter(Struct, frozen=True, kw_only=True, tag="DeadLetter"):
    """One undeliverable record; ``topic-partition-offset`` is its id, so that a repeat is recognised.

    Attributes:
        topic: Where the record was found.
        partition: Its partition there.
        offset: Its offset there.
        key: Its key's bytes, None where it had none.
        value: Its value's original bytes, None where it had none.
        headers: Its headers, in their order, repeated ones too.
        cause: The error code.
        detail: The error's text.
        session_id: The session, where the key told it.
        message_id: The message's id, where it could be told.
        bytes_left_out: How much of key, value and headers is missing here, because the whole did not fit.
        retry_of: ``partition:offset`` of the dead letter whose retry failed again.
        occurred_at: Unix time in milliseconds.
    """

    topic: str
    partition: int
    offset: int
    cause: str
    detail: str
    occurred_at: int
    key: bytes | None = None
    value: bytes | None = None
    headers: list[RecordHeader] = field(default_factory=list)
    session_id: str | None = None
    message_id: str | None = None
    bytes_left_out: int = 0
    retry_of: str | None = None


class Resolution(StrEnum):
    """What an operator did with a dead letter."""

    RETRIED = "retried"  #: Its record was published again.
    DROPPED = "dropped"  #: It needs no more attention.


class DeadLetterResolved(Struct, frozen=True, kw_only=True, tag="DeadLetterResolved"):
    """An operator has dealt with a dead letter; lies behind it in the same partition of the same topic.

    Attributes:
        partition: Of the dead letter, in ``dead-letters``.
        offset: Of the dead letter, in ``dead-letters``.
        how: See :class:`Resolution`.
        by: Who did it.
        occurred_at: Unix time in milliseconds.
        published_to: ``topic-partition-offset`` of the record that was published again.
    """

    partition: int
    offset: int
    how: Resolution
    by: str
    occurred_at: int
    published_to: str | None = None


DeadLetterRecord = DeadLetter | DeadLetterResolved
