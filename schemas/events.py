"""The event log's vocabulary: every decision about a session, in the order of its partition.

An event is never changed and never decided again. The union :data:`SessionEvent` is closed: a fold that
meets another type stops its partition (rule 6).
"""

from __future__ import annotations

from msgspec import Struct, field

from schemas.attempt import Attempt


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens a model call read and wrote, as its provider counted them (0 where it did not say)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ToolCall(Struct, frozen=True, kw_only=True, gc=False):
    """One tool call that a model asked for; ``arguments`` is a JSON object as text."""

    call_id: str
    name: str
    arguments: str = "{}"


class PartitionOpened(Struct, frozen=True, kw_only=True, tag="PartitionOpened"):
    """A worker took a partition over; **this record's offset is the partition's epoch** from here on.

    Attributes:
        event_id: Unique for each opening.
        owner: The worker's name, for people.
        generation: Generation of the consumer group under which it was assigned.
        occurred_at: Unix time in milliseconds.
    """

    event_id: str
    owner: str
    generation: int
    occurred_at: int


class _Envelope(Struct, frozen=True, kw_only=True):
    """What each session event carries.

    Attributes:
        event_id: Derived from ``(turn_id, attempt, step)``: the same decision has the same id.
        session_id: The Kafka key as text (``tenant/session_id`` where tenants are used).
        turn_id: Derived from the session and the message id.
        message_id: The message's idempotency key.
        attempt: The attempt that decided it; ``attempt.epoch`` is the record's epoch.
        source_offset: Offset of the message in its ``messages`` partition; -1 where there is none.
        occurred_at: Unix time in milliseconds.
    """

    event_id: str
    session_id: str
    turn_id: str
    message_id: str
    attempt: Attempt
    source_offset: int
    occurred_at: int


class TurnStarted(_Envelope, frozen=True, kw_only=True, tag="TurnStarted"):
    """A turn began, or began again under a new attempt; carries the user's text into the log."""

    text: str
    agent: str
    model: str
    metadata: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None


class StepCompleted(_Envelope, frozen=True, kw_only=True, tag="StepCompleted"):
    """A model call ended by asking for tools; an unfinished turn continues behind its last step."""

    step: int
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


class ToolCalled(_Envelope, frozen=True, kw_only=True, tag="ToolCalled"):
    """A tool is about to run; it runs only after this event was folded as accepted."""

    step: int
    call: ToolCall


class ToolReturned(_Envelope, frozen=True, kw_only=True, tag="ToolReturned"):
    """A tool's result; it never runs again."""

    step: int
    call_id: str
    result: str
    is_error: bool = False


class _Outcome(_Envelope, frozen=True, kw_only=True):
    """Ends a message's work.

    Attributes:
        decided_upto: Every message of the session at this offset or below is decided with this event.
    """

    decided_upto: int


class TurnCompleted(_Outcome, frozen=True, kw_only=True, tag="TurnCompleted"):
    """The model's whole answer; produced only when all its deltas are confirmed by the broker.

    Attributes:
        text: The full answer.
        deltas: How many ``delta`` tokens carried it.
        finish_reason: The provider's word: ``stop``, ``length``, ...
    """

    text: str
    deltas: int
    finish_reason: str = "stop"
    usage: Usage = Usage()


class TurnFailed(_Outcome, frozen=True, kw_only=True, tag="TurnFailed"):
    """The turn ended without an answer; ``cause`` is an error code, ``detail`` its text."""

    cause: str
    detail: str
    deltas: int = 0


class TurnCancelled(_Outcome, frozen=True, kw_only=True, tag="TurnCancelled"):
    """The user stopped the turn; ``text`` is what had been streamed by then."""

    reason: str = "cancelled"
    text: str = ""
    deltas: int = 0


class TurnSuspended(_Outcome, frozen=True, kw_only=True, tag="TurnSuspended"):
    """The turn waits for a person; ``approve`` or ``deny`` continues it before ``expires_at`` (Unix ms)."""

    wait_for: str
    expires_at: int


class MessageMerged(_Outcome, frozen=True, kw_only=True, tag="MessageMerged"):
    """The message was answered together with another one, ``into`` (its message id)."""

    into: str


class MessageQueued(_Outcome, frozen=True, kw_only=True, tag="MessageQueued"):
    """The message waits in the session behind a suspended turn; it is acknowledged meanwhile."""

    text: str
    agent: str


class MessageRejected(_Outcome, frozen=True, kw_only=True, tag="MessageRejected"):
    """The message gets no turn; ``reason`` is a stable code."""

    reason: str
    detail: str = ""


class MemoryCompacted(_Envelope, frozen=True, kw_only=True, tag="MemoryCompacted"):
    """Memory entries below sequence number ``dropped_until`` are gone; ``summary`` stands for them."""

    dropped_until: int
    summary: str = ""


class SessionErased(_Outcome, frozen=True, kw_only=True, tag="SessionErased"):
    """The session's memory was emptied by its user's order."""

    reason: str = ""


Outcome = (
    TurnCompleted
    | TurnFailed
    | TurnCancelled
    | TurnSuspended
    | MessageMerged
    | MessageQueued
    | MessageRejected
    | SessionErased
)
Step = StepCompleted | ToolCalled | ToolReturned
SessionEvent = TurnStarted | Step | Outcome | MemoryCompacted
LogEvent = PartitionOpened | SessionEvent
