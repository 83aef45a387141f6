"""The independent checker: reads a deployment's topics itself after a run, and says every promise that was broken.

It shares the wire types and the codec with the product, and nothing else: the epoch rule and fold rules 1 to 4 of the
design are written here a second time, in a few lines, with no bound on what they remember.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from schemas.attempt import Attempt
from schemas.errors import DecodeError, UnknownEventError
from schemas.events import (
    LogEvent,
    MemoryCompacted,
    MessageRejected,
    PartitionOpened,
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
from schemas.ids import turn_id_for
from schemas.serdes import Codec
from schemas.tokens import TERMINAL_KINDS, Token, TokenKind
from streams.providers.scripted import ScriptedCall
from tests.support.effects import IDEMPOTENT, Effect
from tests.support.topic_reader import Read

_NEED_START = (StepCompleted, ToolCalled, ToolReturned, TurnCompleted)

#: How a reader hears of each outcome that ends a stream; the others end none.
_ENDINGS: Mapping[type, TokenKind] = {
    TurnCompleted: TokenKind.COMPLETED,
    TurnFailed: TokenKind.FAILED,
    TurnCancelled: TokenKind.CANCELLED,
    MessageRejected: TokenKind.FAILED,
    SessionErased: TokenKind.COMPLETED,
}


@cache
def wire_codec() -> Codec:
    """Return the one codec of a checker: it parses each schema once."""
    return Codec()


@dataclass(frozen=True, slots=True)
class Published:
    """A message that the broker has confirmed to its publisher."""

    session_id: str
    message_id: str
    text: str
    partition: int
    offset: int

    @property
    def turn_id(self) -> str:
        """The turn that answers it."""
        return turn_id_for(self.session_id, self.message_id)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An outcome that counts, and where it lies."""

    event: Any
    partition: int
    offset: int


class LogFold:
    """The log's own verdict, partition by partition."""

    def __init__(self) -> None:
        #: Each partition's epochs, in order: the offsets of its openings.
        self.epochs: dict[int, list[int]] = defaultdict(list)
        #: Who opened each partition last.
        self.owners: dict[int, str] = {}
        self.outcomes: dict[str, Accepted] = {}
        self.starts: dict[str, list[Attempt]] = defaultdict(list)
        #: Offset of each session's last event that counts; a compaction may be without effect and is left out.
        self.last_offset: dict[str, int] = {}
        self.rejected: Counter[str] = Counter()
        self.openings: Counter[int] = Counter()
        #: Finished model calls that asked for tools, by turn and epoch.
        self.steps: Counter[tuple[str, int]] = Counter()
        #: ``(turn_id, call_id)`` of the calls of tools that count, and of those that returned.
        self.tool_calls: set[tuple[str, str]] = set()
        self.tool_results: set[tuple[str, str]] = set()
        self._seen: set[str] = set()

    def feed(self, partition: int, offset: int, event: LogEvent) -> bool:
        """Fold one record, in log order of its partition; True where it is a session's event that counts."""
        if isinstance(event, PartitionOpened):
            self.epochs[partition].append(offset)
            self.openings[partition] += 1
            self.owners[partition] = event.owner
            return False
        turn_id = event.turn_id
        if event.attempt.epoch != (self.epochs[partition] or [-1])[-1]:
            self.rejected["1: another epoch"] += 1
        elif turn_id in self.outcomes:
            self.rejected["2: decided already"] += 1
        elif event.event_id in self._seen:
            self.rejected["3: repeated"] += 1
        elif isinstance(event, _NEED_START) and event.attempt not in self.starts[turn_id][-1:]:
            self.rejected["4: no start"] += 1
        else:
            self._count(partition, offset, event)
            return True
        return False

    def _count(self, partition: int, offset: int, event: SessionEvent) -> None:
        turn_id, epoch = event.turn_id, event.attempt.epoch
        self._seen.add(event.event_id)
        if isinstance(event, StepCompleted):
            self.steps[turn_id, epoch] += 1
        elif isinstance(event, ToolCalled):
            self.tool_calls.add((turn_id, event.call.call_id))
        elif isinstance(event, ToolReturned):
            self.tool_results.add((turn_id, event.call_id))
        elif isinstance(event, TurnStarted):
            self.starts[turn_id].append(event.attempt)
        elif hasattr(event, "decided_upto"):
            self.outcomes[turn_id] = Accepted(event, partition, offset)
        if not isinstance(event, MemoryCompacted):
            self.last_offset[event.session_id] = offset


@dataclass(slots=True)
class Answer:
    """What a reader of ``tokens`` holds of one turn: the highest attempt, nothing of the lower ones."""

    attempt: Attempt = field(default_factory=lambda: Attempt(-1, -1))
    next_index: int = 0
    pieces: list[str] = field(default_factory=list)
    #: What ended it, as often as it was said: an outcome is told again to whoever asks again.
    terminals: list[Token] = field(default_factory=list)
    attempts: set[Attempt] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def feed(self, token: Token) -> None:
        """Read one record, in partition order."""
        self.attempts.add(token.attempt)
        if token.attempt < self.attempt:
            return
        if token.attempt > self.attempt:
            if self.terminals and self.terminals[0].attempt.epoch < 0:
                self.terminals = []  # a dead letter's, whose message was retried
            if self.terminals:
                self.faults.append(f"attempt {token.attempt} begins behind the terminal token of {self.attempt}")
            if token.index and token.kind not in TERMINAL_KINDS:
                self.faults.append(f"attempt {token.attempt} begins at index {token.index}")
            self.attempt, self.next_index, self.pieces = token.attempt, 0, []
        if token.kind in TERMINAL_KINDS:
            self.terminals.append(token)
            return
        if token.index != self.next_index:
            self.faults.append(f"index {token.index} where {self.next_index} comes next, in attempt {token.attempt}")
        self.next_index = token.index + 1
        if token.kind is TokenKind.DELTA:
            if self.terminals:
                self.faults.append("a delta behind the terminal token")
            self.pieces.append(token.text or "")


@dataclass
class Report:
    """What was found; ``faults`` is empty when every promise was kept."""

    faults: list[str] = field(default_factory=list)
    messages: int = 0
    cut_off: int = 0
    repeated_calls: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    openings: int = 0

    def fault(self, text: str) -> None:
        """Note a broken promise."""
        self.faults.append(text)

    def assert_clean(self) -> None:
        """Fail with the first faults and how many of each kind there are."""
        assert not self.faults, f"{len(self.faults)} faults; {self}:\n" + "\n".join(self.faults[:25])

    def __str__(self) -> str:
        return (
            f"{self.messages} messages, {self.cut_off} cut off, {self.repeated_calls} calls repeated, "
            f"{self.openings} openings, rejected {dict(self.rejected)}"
        )


def fold_log(
    records: Iterable[Read],
    topic: str,
    log: LogFold | None = None,
    *,
    on_accepted: Callable[[int, SessionEvent], None] = lambda _offset, _event: None,
) -> LogFold:
    """Fold the records of ``events``; what is no event of this version is counted.

    ``on_accepted(offset, event)`` hears of the sessions' events that count, in the order of the records.
    """
    codec, log = wire_codec(), log or LogFold()
    for record in records:
        try:
            event = codec.decode_event(record.value, topic=topic, partition=record.partition, offset=record.offset)
        except (DecodeError, UnknownEventError):
            log.rejected["unreadable"] += 1
            continue
        if log.feed(record.partition, record.offset, event) and not isinstance(event, PartitionOpened):
            on_accepted(record.offset, event)
    return log


def fold_tokens(records: Iterable[Read], topic: str) -> dict[str, Answer]:
    """Read ``tokens`` as a subscriber does."""
    codec, answers = wire_codec(), defaultdict[str, Answer](Answer)
    for record in records:
        token = codec.decode_token(record.value, topic=topic, partition=record.partition, offset=record.offset)
        answers[token.turn_id].feed(token)
    return answers


def check_run(
    *,
    published: Iterable[Published],
    events: Iterable[Read],
    tokens: Iterable[Read],
    calls: Iterable[ScriptedCall] = (),
    effects: Iterable[Effect] = (),
    events_topic: str = "events",
    tokens_topic: str = "tokens",
) -> Report:
    """Check a run.

    Args:
        published: What was confirmed to its publishers, in the order of publishing within a session.
        events: All of the ``events`` topic.
        tokens: All of ``tokens``.
        calls: The model calls that were made.
        effects: The runs of tools.
        events_topic: Its name, for errors.
        tokens_topic: Its name, for errors.
    """
    report = Report()
    log = fold_log(events, events_topic)
    answers = fold_tokens(tokens, tokens_topic)
    report.rejected, report.openings = log.rejected, sum(log.openings.values())
    messages = list(published)
    report.messages = len({message.turn_id for message in messages})
    _check_outcomes(report, messages, log)
    _check_order(report, messages, log)
    check_tokens(report, log, answers)
    _check_calls(report, log, answers, calls)
    _check_effects(report, log, effects)
    return report


def _check_outcomes(report: Report, messages: list[Published], log: LogFold) -> None:
    for message in messages:
        if message.turn_id not in log.outcomes:
            report.fault(f"not answered: {message}")


def _check_order(report: Report, messages: list[Published], log: LogFold) -> None:
    """Outcomes lie in the log in the order in which their session's messages were published."""
    last: dict[str, tuple[int, str]] = {}
    seen: set[str] = set()
    for message in messages:
        accepted = log.outcomes.get(message.turn_id)
        if accepted is None or message.turn_id in seen or isinstance(accepted.event, TurnCancelled):
            continue  # a waiting message is cancelled ahead of its turn
        seen.add(message.turn_id)
        offset, before = last.get(message.session_id, (-1, ""))
        if accepted.offset <= offset:
            report.fault(f"out of order: {message.text!r} was answered before {before!r}")
        last[message.session_id] = accepted.offset, message.text
    by_session: dict[str, int] = {}
    for accepted in sorted(log.outcomes.values(), key=lambda outcome: (outcome.partition, outcome.offset)):
        source = accepted.event.source_offset
        if source < by_session.get(accepted.event.session_id, -1) and not isinstance(accepted.event, TurnCancelled):
            report.fault(f"out of order: the message at offset {source} of session {accepted.event.session_id}")
        by_session[accepted.event.session_id] = max(source, by_session.get(accepted.event.session_id, -1))


def check_tokens(report: Report, log: LogFold, answers: Mapping[str, Answer]) -> None:  # noqa: C901 -- a list
    """Each reader holds what the log accepted, of one attempt, and hears how it ended: each time in the same words."""
    for turn_id, answer in answers.items():
        for fault in answer.faults:
            report.fault(f"tokens of {turn_id}: {fault}")
        if turn_id not in log.outcomes and any(terminal.attempt.epoch >= 0 for terminal in answer.terminals):
            report.fault(f"tokens of {turn_id}: a terminal token, and no outcome in the log")
    for turn_id, accepted in log.outcomes.items():
        outcome = accepted.event
        kind = _ENDINGS.get(type(outcome))
        if kind is None:
            continue
        answer = answers.get(turn_id, Answer())
        if not answer.terminals:
            report.fault(f"tokens of {turn_id}: no terminal token for {type(outcome).__name__}")
            continue
        for terminal in answer.terminals:
            for fault in _differences(terminal, kind, outcome):
                report.fault(f"tokens of {turn_id}: {fault}")
        deltas, read = getattr(outcome, "deltas", 0), "".join(answer.pieces)
        if len(answer.pieces) != deltas:
            report.fault(f"tokens of {turn_id}: {len(answer.pieces)} deltas read, the log says {deltas}")
        if isinstance(outcome, TurnCompleted | TurnCancelled) and read != outcome.text:
            report.fault(f"tokens of {turn_id}: {read!r} read, {outcome.text!r} in the log")


def _differences(terminal: Token, kind: TokenKind, outcome: Any) -> list[str]:
    """Say where a terminal token is not the outcome's; told again it may leave out a text that memory has lost."""
    cause = getattr(outcome, "cause", getattr(outcome, "reason", None)) if kind is TokenKind.FAILED else None
    wanted = {"kind": kind, "attempt": outcome.attempt, "deltas": getattr(outcome, "deltas", 0), "cause": cause}
    found = [
        f"the terminal's {name} is {getattr(terminal, name)!r}, the log's {value!r}"
        for name, value in wanted.items()
        if getattr(terminal, name) != value
    ]
    if terminal.text is not None and terminal.text != getattr(outcome, "text", None):
        found.append(f"the terminal repeats another text: {terminal.text!r}")
    return found


def _check_calls(report: Report, log: LogFold, answers: Mapping[str, Answer], calls: Iterable[ScriptedCall]) -> None:
    """One model call for each step of an attempt, and none for a turn that its owner found decided.

    Of a call that was cut off nothing else need be in Kafka: a worker that was killed, frozen or without a broker loses
    what it had to say of it. The epoch in which each was made is enough to tell who could know what.
    """
    by_turn: dict[str, list[ScriptedCall]] = defaultdict(list)
    for call in calls:
        by_turn[call.turn_id or ""].append(call)
    for turn_id, made in by_turn.items():
        attempts = set(log.starts.get(turn_id, ())) | (answers[turn_id].attempts if turn_id in answers else set())
        report.cut_off += len(attempts) > 1
        by_epoch = Counter(call.epoch for call in made)
        report.repeated_calls += len(made) - 1 - sum(log.steps[turn_id, epoch] for epoch in by_epoch)
        accepted = log.outcomes.get(turn_id)
        for epoch, count in by_epoch.items():
            if count > 1 + log.steps[turn_id, epoch]:
                steps = log.steps[turn_id, epoch]
                report.fault(f"{count} model calls for turn {turn_id} in epoch {epoch}, which has {steps} steps of it")
            if accepted is None:
                continue
            if epoch not in log.epochs[accepted.partition]:
                report.fault(f"a model call for turn {turn_id} in epoch {epoch}, which never was")
            elif epoch > accepted.offset:
                report.fault(f"a model call for turn {turn_id} in epoch {epoch}: it was decided at {accepted.offset}")
    for turn_id, accepted in log.outcomes.items():
        if by_turn and isinstance(accepted.event, TurnCompleted) and turn_id not in by_turn:
            report.fault(f"turn {turn_id} is completed without a model call")


def _check_effects(report: Report, log: LogFold, effects: Iterable[Effect]) -> None:
    """A tool runs once a call, and only a call that is in the log; an idempotent one may run again."""
    runs = Counter((effect.turn_id, effect.call_id, effect.tool) for effect in effects)
    for (turn_id, call_id, name), count in runs.items():
        if (turn_id, call_id) not in log.tool_calls:
            report.fault(f"tool {name} ran for call {call_id} of turn {turn_id}, which the log does not hold")
        if count > 1 and name != IDEMPOTENT:
            report.fault(f"tool {name} ran {count} times for call {call_id} of turn {turn_id}")
