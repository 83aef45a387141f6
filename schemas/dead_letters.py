"""What ``dead-letters`` holds: a record that could not be handled, whole, with where it lay and why."""

from __future__ import annotations

from msgspec import Struct, field


class DeadLetter(Struct, frozen=True, kw_only=True, tag="DeadLetter"):
    """One undeliverable record; ``topic-partition-offset`` is its id, so that a repeat is recognised.

    Attributes:
        topic: Where the record was found.
        partition: Its partition there.
        offset: Its offset there.
        key: Its key's bytes, None where it had none.
        value: Its value's original bytes, None where it had none.
        headers: Its headers' original bytes.
        cause: The error code.
        detail: The error's text.
        session_id: The session, where the key told it.
        message_id: The message's id, where it could be told.
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
    headers: dict[str, bytes] = field(default_factory=dict)
    session_id: str | None = None
    message_id: str | None = None
