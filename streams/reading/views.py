"""What a worker says when it is asked: sessions, where their partitions stand, and its figures."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from schemas.events import SessionErased, Usage
from schemas.session import Session

#: Header by which a gateway names the worker that it means: ``prefix/worker``.
WORKER_HEADER: Final = "Barnabas-Worker"

_ERASED: Final = SessionErased.__name__


class SessionState(StrEnum):
    """What a session is doing."""

    IDLE = "idle"  #: No turn is open.
    RUNNING = "running"  #: A turn has started and has no outcome yet.
    SUSPENDED = "suspended"  #: Its turn waits for a person.
    ERASED = "erased"  #: Its last decision was its erasure: nothing is left of it but the log.


def state_of(session: Session) -> SessionState:
    """Return what a session is doing."""
    turn = session.open_turn
    if turn is not None:
        return SessionState.RUNNING if turn.wait_for is None else SessionState.SUSPENDED
    if session.recent and session.recent[-1].outcome == _ERASED and not session.memory:
        return SessionState.ERASED
    return SessionState.IDLE


class SessionSummary(Struct, frozen=True, kw_only=True):
    """A session in a list.

    Attributes:
        session_id: Its id.
        state: What it is doing.
        agent: The agent that answered last.
        created_at: Unix ms of its first event.
        updated_at: Unix ms of its latest event.
        turns: Completed turns.
        memories: How many messages it remembers.
        usage: Model tokens of all completed turns.
        folded: Offset of its latest event.
    """

    session_id: str
    state: SessionState
    agent: str
    created_at: int
    updated_at: int
    turns: int
    memories: int
    usage: Usage
    folded: int


def summary_of(session: Session) -> SessionSummary:
    """Return what a list says of a session."""
    return SessionSummary(
        session_id=session.session_id,
        state=state_of(session),
        agent=session.agent,
        created_at=session.created_at,
        updated_at=session.updated_at,
        turns=session.turns,
        memories=len(session.memory),
        usage=session.usage,
        folded=session.folded,
    )


class Selection(Struct, frozen=True, kw_only=True):
    """Which sessions; all conditions together. Erased ones are in no list.

    Attributes:
        prefix: Keys that begin with it: a tenant's.
        is_tenantless: Only keys without a tenant.
        agent: The agent that answered last.
        state: What they are doing.
        since: Changed at this Unix time in milliseconds or later.
        until: ... and before this one.
    """

    prefix: str = ""
    is_tenantless: bool = False
    agent: str | None = None
    state: SessionState | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, summary: SessionSummary) -> bool:
        """Say whether a session whose key has the prefix is among them."""
        return (
            summary.folded >= 0
            and summary.state is not SessionState.ERASED
            and not (self.is_tenantless and "/" in summary.session_id)
            and (self.agent is None or summary.agent == self.agent)
            and (self.state is None or summary.state is self.state)
            and (self.since is None or summary.updated_at >= self.since)
            and (self.until is None or summary.updated_at < self.until)
        )


class Standing(Struct, frozen=True, kw_only=True):
    """Where an owned partition stands.

    Attributes:
        partition: Its number.
        worker: Its owner.
        epoch: The owner's epoch.
        folded: Every event before this offset is folded.
        end: End of the partition's events as last fetched.
    """

    partition: int
    worker: str
    epoch: int
    folded: int
    end: int


class SessionAnswer(Struct, frozen=True, kw_only=True):
    """One session as its owner has it; None where there is none."""

    standing: Standing
    session: Session | None


class ListAnswer(Struct, frozen=True, kw_only=True):
    """Sessions of some partitions, keys ascending.

    Attributes:
        sessions: Those that were asked for.
        reached: The key up to which all those partitions were looked through; None: to their ends.
        standings: Of the partitions that answered.
        refused: Those that are not this worker's, or not open yet.
    """

    sessions: list[SessionSummary]
    reached: str | None
    standings: list[Standing]
    refused: list[int]


class Counts(Struct, kw_only=True):
    """What turns came to, in a time.

    Attributes:
        outcomes: Turns by outcome.
        input_tokens: As the model counts them.
        output_tokens: ... written.
        token_records: Deltas sent to readers.
        first_token: Turns by time to first token, a number for each bucket of ``FIRST_TOKEN_S``.
        duration: Turns by duration, a number for each bucket of ``DURATION_S``.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    token_records: int = 0
    first_token: list[int] = field(default_factory=list)
    duration: list[int] = field(default_factory=list)


class PartitionFigures(Struct, frozen=True, kw_only=True):
    """One owned partition.

    Attributes:
        partition: Its number.
        phase: ``open``, ``opening``, ``closed``, ``stopped``.
        epoch: Its epoch, -1 before it is open.
        lanes: Sessions with a message that runs or waits.
        oldest_s: Age of the oldest unfinished message in seconds, 0 for none.
        lag: Records of ``messages`` that are not done.
        backlog: ... that were not begun.
        events_lag: Events that are not folded and confirmed.
    """

    partition: int
    phase: str
    epoch: int
    lanes: int
    oldest_s: float
    lag: int
    backlog: int
    events_lag: int


class WorkerFigures(Struct, frozen=True, kw_only=True):
    """A worker at one moment.

    Attributes:
        worker: Its name.
        problems: Why it is not ready, a sentence each; empty where it is.
        window_s: How many seconds ``recent`` covers.
        recent: Counts of that time.
        total: Counts since it began.
        turns_in_flight: Turns that run.
        turns_max: Turns that may run at once.
        dead_letters: Records put aside since it began.
        rejected: Records of the log that the fold did not apply, since it began.
        epochs_opened: Its openings since it began.
        epochs_lost: Epochs that ended before their partition was left.
        disk_bytes: Size of RocksDB's live table files.
        is_recovering: Whether a recovery runs.
        recovery_records: Records it has to read.
        recovery_records_read: ... and has read.
        partitions: Those it owns.
    """

    worker: str
    problems: tuple[str, ...]
    window_s: float
    recent: Counts
    total: Counts
    turns_in_flight: int
    turns_max: int
    dead_letters: int
    rejected: int
    epochs_opened: int
    epochs_lost: int
    disk_bytes: int
    is_recovering: bool
    recovery_records: int
    recovery_records_read: int
    partitions: list[PartitionFigures]
