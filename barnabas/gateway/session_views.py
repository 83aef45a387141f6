"""What clients are shown of sessions: ids without the tenant, since each sees its own alone."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from barnabas.gateway.freshness import Freshness
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.transcript import TranscriptTurn
from schemas.events import Usage
from schemas.session import MemoryEntry, OpenTurn, Session, ToolResult
from streams.reading.views import SessionState, SessionSummary, state_of

#: Digits of a memory's id: text that is in order as it is.
_ID_DIGITS = 10


class Memory(Struct, frozen=True, kw_only=True):
    """One remembered message.

    Attributes:
        id: Unique within the session and never used again; later ones are greater.
        timestamp: When it was said, Unix ms.
        role: ``user`` or ``assistant``.
        text: What was said.
        turn_id: The turn it belongs to.
    """

    id: str
    timestamp: int
    role: str
    text: str
    turn_id: str


def memory_of(entry: MemoryEntry) -> Memory:
    """Return a memory entry as it is shown."""
    return Memory(
        id=f"{entry.seq:0{_ID_DIGITS}}",
        timestamp=entry.occurred_at,
        role=entry.role,
        text=entry.text,
        turn_id=entry.turn_id,
    )


class OpenTool(Struct, frozen=True, kw_only=True):
    """A tool call of an open turn.

    Attributes:
        step: The model call that asked for it, from 0.
        name: The tool.
        arguments: A JSON object as text.
        result: What it returned; null where it has not.
        is_error: Whether ``result`` says what went wrong.
    """

    step: int
    name: str
    arguments: str
    result: str | None
    is_error: bool


def _tool(tool: ToolResult) -> OpenTool:
    call = tool.call
    return OpenTool(
        step=tool.step, name=call.name, arguments=call.arguments, result=tool.result, is_error=tool.is_error
    )


class OpenTurnView(Struct, frozen=True, kw_only=True):
    """A turn that has started and has no outcome.

    Attributes:
        turn_id: The turn.
        message_id: The message it answers.
        agent: Which agent answers.
        text: What the user said.
        started_at: Unix ms.
        wait_for: What a suspended turn waits for; null while it runs.
        expires_at: When a suspended turn ends by itself, Unix ms.
        tools: The tools it has called.
    """

    turn_id: str
    message_id: str
    agent: str
    text: str
    started_at: int
    wait_for: str | None
    expires_at: int | None
    tools: list[OpenTool]


def _open_turn(turn: OpenTurn) -> OpenTurnView:
    return OpenTurnView(
        turn_id=turn.turn_id,
        message_id=turn.message_id,
        agent=turn.agent,
        text=turn.text,
        started_at=turn.started_at,
        wait_for=turn.wait_for,
        expires_at=turn.expires_at,
        tools=[_tool(tool) for tool in turn.tools],
    )


class SessionView(Struct, frozen=True, kw_only=True):
    """A session.

    Attributes:
        session_id: Its id.
        state: ``idle``, ``running`` (a turn is open) or ``suspended`` (its turn waits for a person).
        agent: The agent that answered last.
        created_at: Unix ms of its first event.
        updated_at: Unix ms of its latest event.
        folded: Offset of its latest event: grows with each change, and names this state in ``?at=``.
        epoch: Epoch of that event.
        turns: Completed turns.
        usage: Model tokens of all completed turns.
        memory: What it remembers, oldest first.
        summary: Stands for what left the memory.
        open_turn: The turn without an outcome; null for none.
        queued: Messages that wait behind a suspended turn.
        freshness: Where this comes from.
    """

    session_id: str
    state: SessionState
    agent: str
    created_at: int
    updated_at: int
    folded: int
    epoch: int
    turns: int
    usage: Usage
    memory: list[Memory]
    summary: str
    open_turn: OpenTurnView | None
    queued: int
    freshness: Freshness


def session_view(session: Session, session_id: str, freshness: Freshness) -> SessionView:
    """Return a session as it is shown."""
    return SessionView(
        session_id=session_id,
        state=state_of(session),
        agent=session.agent,
        created_at=session.created_at,
        updated_at=session.updated_at,
        folded=session.folded,
        epoch=session.epoch,
        turns=session.turns,
        usage=session.usage,
        memory=[memory_of(entry) for entry in session.memory],
        summary=session.summary,
        open_turn=None if session.open_turn is None else _open_turn(session.open_turn),
        queued=len(session.queued),
        freshness=freshness,
    )


class SessionsPage(Struct, frozen=True, kw_only=True):
    """Some sessions.

    Attributes:
        sessions: In the order of their ids; a page may hold fewer than were asked for, and more may follow.
        next_cursor: For the next page; null where there is none.
        has_more: Whether more may follow.
        freshness: Of each partition.
    """

    sessions: list[SessionSummary]
    next_cursor: str | None
    has_more: bool
    freshness: list[Freshness]


class EventsPage(Struct, frozen=True, kw_only=True):
    """Some of a session's events.

    Attributes:
        events: Place in the log (``partition``, ``offset``, ``timestamp_ms``), the fold's ``verdict``, ``type``, then
            the event's own fields.
        next_cursor: For the next page. Oldest first there always is one: later it gives what has come since.
        has_more: Whether more follow now.
        freshness: Where this comes from.
    """

    events: list[dict[str, Any]]
    next_cursor: str | None
    has_more: bool
    freshness: Freshness


def event_fields(logged: LoggedEvent, session_id: str) -> dict[str, Any]:
    """Return an event as it is shown."""
    fields = logged.fields()
    if "session_id" in fields:
        fields["session_id"] = session_id
    return fields


class TranscriptView(Struct, frozen=True, kw_only=True):
    """A session's conversation, whatever its memory has let go.

    Attributes:
        session_id: Its id.
        turns: Every turn that counts, oldest first.
        freshness: Where this comes from.
    """

    session_id: str
    turns: list[TranscriptTurn]
    freshness: Freshness


class MemoriesPage(Struct, frozen=True, kw_only=True):
    """Some of what a session remembers.

    Attributes:
        memories: Ordered by timestamp, then id.
        next_cursor: For the next page; null where there is none.
        has_more: Whether more follow.
        freshness: Where this comes from.
    """

    memories: list[Memory]
    next_cursor: str | None = field(name="nextCursor")
    has_more: bool = field(name="hasMore")
    freshness: Freshness
