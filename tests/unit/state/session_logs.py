"""Realistic logs of one partition, written as owners write them; a script of small actions decides what happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from schemas.attempt import Attempt
from schemas.events import (
    LogEvent,
    MemoryCompacted,
    MessageMerged,
    MessageQueued,
    MessageRejected,
    PartitionOpened,
    SessionErased,
    SessionEvent,
    StepCompleted,
    ToolCall,
    ToolCalled,
    ToolReturned,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    TurnSuspended,
    Usage,
)
from schemas.ids import event_id_for, turn_id_for
from schemas.session import PartitionState, Session
from state.fold import Verdict
from state.partition_fold import PartitionFold


class Logged(NamedTuple):
    """A record of the log."""

    offset: int
    event: LogEvent


@dataclass
class Message:
    """A message and where it lies."""

    session_id: str
    message_id: str
    offset: int

    @property
    def turn_id(self) -> str:
        """The id of its turn."""
        return turn_id_for(self.session_id, self.message_id)


@dataclass
class Lane:
    """What an owner knows of a session."""

    waiting: list[Message] = field(default_factory=list)
    queued: list[Message] = field(default_factory=list)
    running: Message | None = None
    attempt: Attempt = field(default_factory=lambda: Attempt(-1, 0))
    is_suspended: bool = False
    steps: int = 0
    calls: list[str] = field(default_factory=list)
    remembered: int = 0
    dropped: int = 0


class PartitionLog:
    """Writes a log. Every record it writes by itself is one that the fold must accept.

    Offsets have holes, as Kafka's have behind a transactional producer.
    """

    def __init__(self, *, first_offset: int = 3, message_step: int = 2) -> None:
        self.records: list[Logged] = []
        self.next_offset = first_offset
        self.epoch = -1
        self.now = 1_000
        self.messages: list[Message] = []
        self._message_step = message_step
        self._lanes: dict[str, Lane] = {}

    # -- Writing

    def append(self, event: LogEvent) -> int:
        """Append any record; returns its offset."""
        offset = self.next_offset
        self.records.append(Logged(offset, event))
        self.next_offset += 1
        return offset

    def open(self, owner: str = "w1") -> int:
        """A worker takes the partition over; returns its epoch."""
        self.now += 1
        event = PartitionOpened(event_id=f"open-{self.next_offset}", owner=owner, generation=1, occurred_at=self.now)
        self.epoch = self.append(event)
        for lane in self._lanes.values():
            if lane.running is not None and not lane.is_suspended:
                lane.attempt = Attempt(-1, 0)  # goes on once it is started again
        return self.epoch

    def message(self, session_id: str) -> Message:
        """A message arrives for a session."""
        number = len(self.messages)
        message = Message(session_id, f"m{number + 1}", number * self._message_step)
        self.messages.append(message)
        self.lane(session_id).waiting.append(message)
        return message

    def lane(self, session_id: str) -> Lane:
        """The session's lane."""
        return self._lanes.setdefault(session_id, Lane())

    def envelope(self, message: Message, attempt: Attempt, step: str | int) -> dict[str, Any]:
        """What each event of a message carries."""
        self.now += 1
        return {
            "event_id": event_id_for(message.turn_id, attempt, step),
            "session_id": message.session_id,
            "turn_id": message.turn_id,
            "message_id": message.message_id,
            "attempt": attempt,
            "source_offset": message.offset,
            "occurred_at": self.now,
        }

    def outcome(self, message: Message, attempt: Attempt, step: str = "outcome") -> dict[str, Any]:
        """What each outcome of a message carries."""
        return {**self.envelope(message, attempt, step), "decided_upto": message.offset}

    # -- What an owner does

    def act(self, action: str, session_id: str) -> None:
        """Do one thing if it is possible now; otherwise the nearest thing that is."""
        if self.epoch < 0 or action == "open":
            self.open(f"w{self.next_offset}")
            return
        lane = self.lane(session_id)
        if action == "compact":
            self._compact(session_id, lane)
        elif action in {"reject", "merge", "erase", "cancel_waiting"} and (lane.running is None or lane.is_suspended):
            self._decide_waiting(action, session_id, lane)
        elif lane.running is None:
            self._start(session_id, lane)
        elif lane.is_suspended and action not in {"complete", "fail", "cancel"}:
            self._queue(session_id, lane)
        elif not lane.is_suspended and lane.attempt.epoch != self.epoch:
            self._begin(lane, Attempt(self.epoch, 0))
        else:
            self._advance(action, lane)

    def _start(self, session_id: str, lane: Lane) -> None:
        if lane.queued:
            lane.running = lane.queued.pop(0)
        else:
            if not lane.waiting:
                self.message(session_id)
            lane.running = lane.waiting.pop(0)
        lane.steps, lane.calls = 0, []
        self._begin(lane, Attempt(self.epoch, 0))

    def _begin(self, lane: Lane, attempt: Attempt) -> None:
        assert lane.running is not None
        lane.attempt = attempt
        envelope = self.envelope(lane.running, attempt, "start")
        self.append(TurnStarted(**envelope, text=f"ask {lane.running.message_id}", agent="assistant", model="echo"))

    def _advance(self, action: str, lane: Lane) -> None:
        message, attempt = lane.running, lane.attempt
        assert message is not None
        if lane.is_suspended and attempt.epoch != self.epoch:
            attempt = Attempt(self.epoch, 0)
        if action == "again":
            self._begin(lane, Attempt(self.epoch, lane.attempt.number + 1))
        elif action == "step":
            call = ToolCall(call_id=f"c{lane.steps}", name="search")
            step = StepCompleted(
                **self.envelope(message, attempt, lane.steps), step=lane.steps, text="", tool_calls=(call,)
            )
            self.append(step)
            self.append(ToolCalled(**self.envelope(message, attempt, f"call-{lane.steps}"), step=lane.steps, call=call))
            lane.calls.append(call.call_id)
            lane.steps += 1
        elif action == "return" and lane.calls:
            call_id = lane.calls.pop(0)
            envelope = self.envelope(message, attempt, f"return-{call_id}")
            self.append(ToolReturned(**envelope, step=0, call_id=call_id, result="found"))
        elif action == "suspend" and not lane.is_suspended:
            lane.is_suspended = True
            envelope = self.outcome(message, attempt, f"suspend-{self.next_offset}")
            self.append(TurnSuspended(**envelope, wait_for="approval", expires_at=self.now + 10_000))
        else:
            self._finish(action, lane, message, attempt)

    def _finish(self, action: str, lane: Lane, message: Message, attempt: Attempt) -> None:
        outcome = self.outcome(message, attempt)
        if action == "fail":
            self.append(TurnFailed(**outcome, cause="provider_failed", detail="no"))
        elif action == "cancel":
            self.append(TurnCancelled(**outcome, text="par"))
        else:
            usage = Usage(prompt_tokens=3, completion_tokens=2)
            self.append(TurnCompleted(**outcome, text=f"answer {message.message_id}", deltas=2, usage=usage))
            lane.remembered += 2
        lane.running, lane.is_suspended = None, False

    def _decide_waiting(self, action: str, session_id: str, lane: Lane) -> None:
        """Decide a waiting message without a turn; a cancel takes the last one, ahead of the others."""
        while len(lane.waiting) < 2:
            self.message(session_id)
        message = lane.waiting.pop(-1 if action == "cancel_waiting" else 0)
        outcome = self.outcome(message, Attempt(self.epoch, 0))
        if action == "cancel_waiting":
            self.append(TurnCancelled(**{**outcome, "decided_upto": -1}))
        elif action == "reject":
            self.append(MessageRejected(**outcome, reason="busy"))
        elif action == "merge":
            self.append(MessageMerged(**outcome, into=lane.waiting[0].message_id))
        else:
            self.append(SessionErased(**outcome))
            lane.dropped, lane.running, lane.is_suspended, lane.queued = lane.remembered, None, False, []

    def _queue(self, session_id: str, lane: Lane) -> None:
        if not lane.waiting:
            self.message(session_id)
        message = lane.waiting.pop(0)
        lane.queued.append(message)
        outcome = self.outcome(message, Attempt(self.epoch, 0), "queued")
        self.append(MessageQueued(**outcome, text=f"ask {message.message_id}", agent="assistant"))

    def _compact(self, session_id: str, lane: Lane) -> None:
        if lane.dropped >= lane.remembered:
            return
        lane.dropped += 2
        message = Message(session_id, f"compaction-{self.next_offset}", -1)
        envelope = self.envelope(message, Attempt(self.epoch, 0), "compact")
        self.append(MemoryCompacted(**envelope, dropped_until=lane.dropped, summary=f"till {lane.dropped}"))


ACTIONS = (
    *("complete",) * 4, "open", "step", "return", "again", "suspend", "fail", "cancel", "compact", "reject", "merge",
    "erase", "cancel_waiting", "queue",
)  # fmt: skip
SESSIONS = ("s1", "s2", "s3")

scripts = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(SESSIONS)), min_size=1, max_size=50)


def written(script: Iterable[tuple[str, str]], **options: int) -> PartitionLog:
    """The log of a script."""
    log = PartitionLog(**options)
    log.open("w0")
    for action, session_id in script:
        log.act(action, session_id)
    return log


logs = scripts.map(written)


class Folded:
    """The fold of records, kept as the projector keeps it."""

    def __init__(self) -> None:
        self.partition = PartitionFold(PartitionState(partition=0))
        self.sessions: dict[str, Session] = {}
        self.verdicts: list[tuple[Logged, Verdict | None]] = []

    def feed(self, records: Iterable[Logged]) -> Folded:
        """Fold more records, at their own offsets."""
        for record in records:
            self.verdicts.append((record, self._fold(record)))
        return self

    def _fold(self, record: Logged) -> Verdict | None:
        if isinstance(record.event, PartitionOpened):
            self.partition.open(record.event, offset=record.offset)
            return None
        event: SessionEvent = record.event
        session = self.sessions.get(event.session_id) or Session(session_id=event.session_id)
        self.sessions[event.session_id], verdict = self.partition.apply(session, event, offset=record.offset)
        return verdict


def fold_all(records: Iterable[Logged]) -> Folded:
    """The fold of a whole log."""
    return Folded().feed(records)
