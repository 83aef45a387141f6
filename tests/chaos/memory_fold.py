"""The table, folded a second time: what each session remembers, written from the design and not from ``state/``.

Bounded where the wire is (the latest decisions), unbounded where the product is bounded. Which events count is
:class:`tests.support.checker.LogFold`'s verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, NamedTuple

from schemas.events import (
    MemoryCompacted,
    MessageRejected,
    SessionErased,
    SessionEvent,
    StepCompleted,
    ToolCalled,
    ToolReturned,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from schemas.serdes import Codec
from schemas.session import Session

_HEADER: Final = Struct(">BBHqq")
_SESSION_KIND: Final = ord("S")

#: How many decisions a value holds.
_RECENT: Final = 32


class Picture(NamedTuple):
    """What of a session can be compared, whoever folded it."""

    folded: int
    epoch: int
    memory: tuple[tuple[int, str, str, str], ...]
    next_seq: int
    turns: int
    summary: str
    open_turn: str | None
    steps: tuple[str, ...]
    tools: tuple[tuple[int, str, str | None], ...]
    decided_upto: int
    decided_above: tuple[int, ...]
    recent: tuple[tuple[str, str], ...]


class TableValue(NamedTuple):
    """A value of the table, as it lies in the changelog or in RocksDB."""

    is_session: bool
    epoch: int
    folded: int
    body: bytes


def table_value(raw: bytes) -> TableValue:
    """Split a value's header from its body."""
    _, kind, _, epoch, folded = _HEADER.unpack_from(raw)
    return TableValue(kind == _SESSION_KIND, epoch, folded, raw[_HEADER.size :])


def picture_of(raw: bytes, codec: Codec) -> Picture:
    """Return what a session's value says."""
    value = table_value(raw)
    session: Session = codec.decode_session(value.body)
    if (session.folded, session.epoch) != (value.folded, value.epoch):
        raise ValueError(f"header {value.folded}, {value.epoch}; body {session.folded}, {session.epoch}")
    turn = session.open_turn
    return Picture(
        session.folded,
        session.epoch,
        tuple((entry.seq, entry.role, entry.text, entry.turn_id) for entry in session.memory),
        session.next_seq,
        session.turns,
        session.summary,
        turn.turn_id if turn is not None else None,
        tuple(step.text for step in turn.steps) if turn is not None else (),
        tuple((tool.step, tool.call.call_id, tool.result) for tool in turn.tools) if turn is not None else (),
        session.done_upto,
        session.done_above,
        tuple((decision.message_id, decision.outcome) for decision in session.recent),
    )


@dataclass
class Memory:
    """One session, folded so far."""

    folded: int = -1
    epoch: int = -1
    entries: tuple[tuple[int, str, str, str], ...] = ()
    next_seq: int = 0
    turns: int = 0
    summary: str = ""
    started: TurnStarted | None = None
    steps: tuple[str, ...] = ()
    tools: tuple[tuple[int, str, str | None], ...] = ()
    upto: int = -1
    decided: set[int] = field(default_factory=set)
    recent: tuple[tuple[str, str], ...] = ()

    def picture(self) -> Picture:
        """Return it for comparison."""
        above = tuple(sorted(offset for offset in self.decided if offset > self.upto))
        open_turn = self.started.turn_id if self.started is not None else None
        return Picture(
            self.folded, self.epoch, self.entries, self.next_seq, self.turns, self.summary, open_turn, self.steps,
            self.tools, self.upto, above, self.recent,
        )  # fmt: skip

    def apply(self, offset: int, event: SessionEvent) -> bool:
        """Fold an event that counts; False where it is without effect."""
        if isinstance(event, MemoryCompacted):
            first = self.entries[0][0] if self.entries else self.next_seq
            if event.dropped_until <= first:
                return False
            self.entries = tuple(entry for entry in self.entries if entry[0] >= event.dropped_until)
            self.summary = event.summary
        elif isinstance(event, TurnStarted):
            if self.started is None or self.started.turn_id != event.turn_id:
                self.steps, self.tools = (), ()
            self.started = event
        elif isinstance(event, StepCompleted):
            self.steps += (event.text,)
        elif isinstance(event, ToolCalled):
            self.tools += ((event.step, event.call.call_id, None),)
        elif isinstance(event, ToolReturned):
            self.tools = tuple(
                (step, call, event.result if call == event.call_id else result) for step, call, result in self.tools
            )
        elif isinstance(event, TurnCompleted | TurnFailed | TurnCancelled | MessageRejected | SessionErased):
            self._decide(event)
        self.folded, self.epoch = offset, event.attempt.epoch
        return True

    def _decide(self, event: Any) -> None:
        started, self.started = self.started, None
        if started is not None and started.turn_id != event.turn_id:
            if not isinstance(event, SessionErased):
                self.started = started  # a waiting message was cancelled beside it
        elif isinstance(event, TurnCompleted) and started is not None:
            said = (self.next_seq, "user", started.text, event.turn_id)
            self.entries += (said, (self.next_seq + 1, "assistant", event.text, event.turn_id))
            self.next_seq += 2
            self.turns += 1
        if isinstance(event, SessionErased):
            self.entries, self.summary = (), ""
        if self.started is None:
            self.steps, self.tools = (), ()
        self.upto = max(self.upto, event.decided_upto)
        self.decided.add(event.source_offset)
        self.recent = (*self.recent, (event.message_id, type(event).__name__))[-_RECENT:]


class TableFold:
    """All sessions of the log, with what each was at each of its own offsets."""

    def __init__(self) -> None:
        self.sessions: dict[str, Memory] = {}
        #: Hash of a session's picture by ``(session, folded)``: a value may be of any moment.
        self.moments: dict[tuple[str, int], int] = {}

    def apply(self, offset: int, event: SessionEvent) -> None:
        """Fold an event that counts."""
        memory = self.sessions.setdefault(event.session_id, Memory())
        if memory.apply(offset, event):
            self.moments[event.session_id, offset] = hash(memory.picture())

    def is_moment(self, session: str, picture: Picture) -> bool:
        """Whether the session once was as a value says."""
        return self.moments.get((session, picture.folded)) == hash(picture)
