"""The session value: what the fold of a session's events yields, and what the next turn reads."""

from __future__ import annotations

from msgspec import Struct

from schemas.attempt import Attempt
from schemas.events import ToolCall, Usage


class MemoryEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One remembered message.

    Attributes:
        seq: Position in the session's whole conversation, from 0; survives compaction.
        role: ``user`` or ``assistant``.
        text: What was said.
        turn_id: The turn it belongs to.
        occurred_at: Unix time in milliseconds.
    """

    seq: int
    role: str
    text: str
    turn_id: str
    occurred_at: int


class ToolResult(Struct, frozen=True, kw_only=True):
    """A tool call of the open turn: called, and perhaps returned.

    Attributes:
        step: The step that asked for it.
        call: The call.
        result: What it returned; None where it has not.
        is_error: Whether ``result`` says what went wrong.
    """

    step: int
    call: ToolCall
    result: str | None = None
    is_error: bool = False


class StepOutput(Struct, frozen=True, kw_only=True):
    """A finished model call of the open turn.

    Attributes:
        step: Its number within the turn, from 0.
        text: What the model said.
        tool_calls: What it asked for.
        usage: Of this call.
    """

    step: int
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


class OpenTurn(Struct, frozen=True, kw_only=True):
    """A turn that has started and has no final outcome.

    Attributes:
        turn_id: The turn.
        message_id: The message it answers.
        attempt: Which run of it began last.
        source_offset: Offset of the message in its ``messages`` partition.
        text: What the user said.
        agent: Which agent answers.
        started_at: Unix time in milliseconds.
        event_ids: Ids folded for this turn so far (rule 3); bounded by the turn's step limit.
        steps: Its finished model calls that asked for tools.
        tools: The calls made for them.
        wait_for: What a suspended turn waits for; None while it runs.
        expires_at: When a suspended turn ends by itself, Unix ms.
    """

    turn_id: str
    message_id: str
    attempt: Attempt
    source_offset: int
    text: str
    agent: str
    started_at: int
    event_ids: tuple[str, ...] = ()
    steps: tuple[StepOutput, ...] = ()
    tools: tuple[ToolResult, ...] = ()
    wait_for: str | None = None
    expires_at: int | None = None


class QueuedMessage(Struct, frozen=True, kw_only=True):
    """A message that waits behind a suspended turn, already acknowledged.

    Attributes:
        message_id: The message.
        turn_id: The turn that is to answer it.
        source_offset: Its offset in its ``messages`` partition.
        text: What the user said.
        agent: Which agent is to answer.
    """

    message_id: str
    turn_id: str
    source_offset: int
    text: str
    agent: str


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """A recent message's outcome: catches a repeat, and lets its terminal token be sent again.

    Attributes:
        message_id: The message.
        outcome: Type name of the outcome event.
        attempt: The accepted attempt.
        deltas: How many deltas that attempt has.
        cause: For a failure, its code.
    """

    message_id: str
    outcome: str
    attempt: Attempt
    deltas: int = 0
    cause: str | None = None


class Session(Struct, frozen=True, kw_only=True):
    """A session's memory, whole. Produced by the fold alone.

    Attributes:
        session_id: The Kafka key as text.
        agent: The agent that answered last.
        created_at: Unix ms of the first event.
        updated_at: Unix ms of the latest event.
        folded: Offset in ``events`` of the latest applied event; -1 for none.
        epoch: Epoch of that event.
        memory: Remembered messages, oldest first.
        next_seq: Sequence number of the next memory entry.
        summary: Stands for what compaction dropped.
        turns: Completed turns.
        usage: Model tokens of all completed turns.
        open_turn: The turn without a final outcome, if any.
        queued: Messages waiting behind a suspended turn.
        done_upto: Every message of the session at this offset or below is decided.
        done_above: Decided offsets above it, sorted.
        recent: The latest decisions, oldest first; bounded.
    """

    session_id: str
    agent: str = ""
    created_at: int = 0
    updated_at: int = 0
    folded: int = -1
    epoch: int = -1
    memory: tuple[MemoryEntry, ...] = ()
    next_seq: int = 0
    summary: str = ""
    turns: int = 0
    usage: Usage = Usage()
    open_turn: OpenTurn | None = None
    queued: tuple[QueuedMessage, ...] = ()
    done_upto: int = -1
    done_above: tuple[int, ...] = ()
    recent: tuple[Decision, ...] = ()


class PartitionState(Struct, frozen=True, kw_only=True):
    """The fold's own record of a partition, kept in the table beside its sessions.

    Attributes:
        partition: Its number.
        folded: Offset of the ``PartitionOpened`` folded last.
        epochs: Offsets of the latest ``PartitionOpened`` records, ascending; bounded.
        owner: Who wrote the last of them.
    """

    partition: int
    folded: int = -1
    epochs: tuple[int, ...] = ()
    owner: str = ""
