"""The event log's vocabulary: every decision about a session, in the order of its partition.

An event is never changed and never decided again. The union :data:`SessionEvent` is closed: a fold that
meets another type stops its partition (rule 6).
"""

from __future__ import annotations

from msgspec import Struct, field

from schemas.attempt import Attempt


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens a model call read and wrote, as its provider counted them (0 where it did not say).

    Attributes:
        prompt_tokens: What it read.
        completion_tokens: What it wrote.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ToolCall(Struct, frozen=True, kw_only=True, gc=False):
    """One tool call that a model asked for.

    Attributes:
        call_id: The model's name for it; the step and this id name a call within its turn.
        name: The tool's.
        arguments: A JSON object as text.
    """

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
    """A turn began, or began again under a new attempt; carries the user's text into the log.

    Attributes:
        text: What the user said.
        agent: Which agent answers.
        model: The agent's model, such as ``openai:gpt-4o-mini``.
        metadata: The message's own labels.
        traceparent: W3C trace context of the message.
    """

    text: str
    agent: str
    model: str
    metadata: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None


class StepCompleted(_Envelope, frozen=True, kw_only=True, tag="StepCompleted"):
    """A model call ended by asking for tools; an unfinished turn continues behind its last step.

    Attributes:
        step: Number of the model call within the turn, from 0.
        text: What the model said before it asked.
        tool_calls: What it asked for.
        usage: Of this call.
    """

    step: int
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


class ToolCalled(_Envelope, frozen=True, kw_only=True, tag="ToolCalled"):
    """A tool is about to run; it runs only after this event was folded as accepted.

    Attributes:
        step: The step that asked for it.
        call: The call.
    """

    step: int
    call: ToolCall


class ToolReturned(_Envelope, frozen=True, kw_only=True, tag="ToolReturned"):
    """A tool's result; it never runs again.

    Attributes:
        step: The step that asked for it.
        call_id: The call.
        result: What the model reads.
        is_error: Whether ``result`` says what went wrong.
    """

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
        usage: Of all the turn's model calls.
    """

    text: str
    deltas: int
    finish_reason: str = "stop"
    usage: Usage = Usage()


class TurnFailed(_Outcome, frozen=True, kw_only=True, tag="TurnFailed"):
    """The turn ended without an answer.

    Attributes:
        cause: An error code.
        detail: The error's text.
        deltas: How many ``delta`` tokens had been sent.
    """

    cause: str
    detail: str
    deltas: int = 0


class TurnCancelled(_Outcome, frozen=True, kw_only=True, tag="TurnCancelled"):
    """The user stopped the turn.

    Attributes:
        reason: As the order said it.
        text: What had been streamed by then.
        deltas: How many ``delta`` tokens carried it.
    """

    reason: str = "cancelled"
    text: str = ""
    deltas: int = 0


class TurnSuspended(_Outcome, frozen=True, kw_only=True, tag="TurnSuspended"):
    """The turn waits for a person; ``approve`` or ``deny`` continues it.

    Attributes:
        wait_for: What it waits for.
        expires_at: When it ends by itself, Unix time in milliseconds.
    """

    wait_for: str
    expires_at: int


class MessageMerged(_Outcome, frozen=True, kw_only=True, tag="MessageMerged"):
    """The message was answered together with another one.

    Attributes:
        into: The other one's message id.
    """

    into: str


class MessageQueued(_Outcome, frozen=True, kw_only=True, tag="MessageQueued"):
    """The message waits in the session behind a suspended turn; it is acknowledged meanwhile.

    Attributes:
        text: What the user said.
        agent: Which agent is to answer.
    """

    text: str
    agent: str


class MessageRejected(_Outcome, frozen=True, kw_only=True, tag="MessageRejected"):
    """The message gets no turn.

    Attributes:
        reason: A stable code.
        detail: A sentence for people.
    """

    reason: str
    detail: str = ""


class MemoryCompacted(_Envelope, frozen=True, kw_only=True, tag="MemoryCompacted"):
    """The oldest memory entries are gone.

    Attributes:
        dropped_until: Entries below this sequence number are dropped.
        summary: Stands for them; may be empty.
    """

    dropped_until: int
    summary: str = ""


class SessionErased(_Outcome, frozen=True, kw_only=True, tag="SessionErased"):
    """The session's memory was emptied by its user's order.

    Attributes:
        reason: As the order said it.
    """

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
