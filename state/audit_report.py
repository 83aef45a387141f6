"""What an audit found: plain data, for people and for ``--json``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

#: Findings kept in full; beyond them only the counts grow.
MAX_FINDINGS: Final = 1000


class FindingKind(StrEnum):
    """Which promise is broken. The names are stable."""

    VALUE_DIFFERS = "value_differs"  #: a value is not what the log yields up to the value's own ``folded``
    NOT_IN_LOG = "not_in_log"  #: a value's ``folded`` is no applied event of its session
    STALE_LAST_RECORD = "stale_last_record"  #: a key's last changelog record is older than an earlier one
    LOST_EVENT = "lost_event"  #: an applied event is acknowledged, and the changelog does not hold it
    TABLE_AHEAD = "table_ahead"  #: a local table holds what the changelog does not
    TABLE_INCOMPLETE = "table_incomplete"  #: a local table lacks a record that its position says it has
    UNREADABLE_TABLE = "unreadable_table"  #: a local table cannot be opened
    FOREIGN_RECORD = "foreign_record"  #: a changelog record or table value that is none of ours
    MISSING_OUTCOME = "missing_outcome"  #: a message is acknowledged and has no outcome
    TWO_OUTCOMES = "two_outcomes"  #: a message has two accepted outcomes
    LOST_REROUTE = "lost_reroute"  #: a misplaced message is acknowledged and never came to its own partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken promise.

    Attributes:
        kind: Which.
        partition: Where.
        session: The session's key as text; None for what belongs to no session.
        offset: In the topic that ``detail`` names; None where none applies.
        detail: What was seen, in words.
    """

    kind: FindingKind
    partition: int
    session: str | None = None
    offset: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """An audit's result.

    Attributes:
        partitions: How many were audited.
        sessions: Sessions in the log, the changelog or a local table.
        values: Values compared with the fold: changelog and local tables.
        events: Records read from the log.
        messages: Records of ``messages`` checked for their outcome.
        tables: Local tables read.
        lag_events: Events not yet acknowledged by the group.
        lag_messages: Messages not yet acknowledged by the group.
        undecodable: Records of the log that are none of ours; every reader skips them.
        unverifiable: Values and messages that cannot be judged, by reason.
        counts: Findings by kind.
        findings: The first ``MAX_FINDINGS`` of them.
        seconds: Wall time.
    """

    partitions: int
    sessions: int
    values: int
    events: int
    messages: int
    tables: int
    lag_events: int
    lag_messages: int
    undecodable: int
    unverifiable: dict[str, int]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found; what cannot be verified is no finding."""
        return not self.counts

    @property
    def lag(self) -> int:
        """Events and messages not yet acknowledged by the group."""
        return self.lag_events + self.lag_messages

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what ``json.dumps`` takes."""
        return {**asdict(self), "is_clean": self.is_clean, "lag": self.lag}


@dataclass(slots=True)
class Tally:
    """Counts while an audit runs."""

    sessions: int = 0
    values: int = 0
    events: int = 0
    messages: int = 0
    tables: int = 0
    lag_events: int = 0
    lag_messages: int = 0
    undecodable: int = 0
    unverifiable: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def found(
        self, kind: FindingKind, partition: int, detail: str, *, key: bytes | None = None, offset: int | None = None
    ) -> None:
        """Note a finding."""
        self.counts[str(kind)] += 1
        if len(self.findings) < MAX_FINDINGS:
            session = None if key is None or key.startswith(b"\x00") else key.decode(errors="replace")
            self.findings.append(Finding(kind=kind, partition=partition, session=session, offset=offset, detail=detail))

    def report(self, *, partitions: int, seconds: float) -> AuditReport:
        """Return the result."""
        return AuditReport(
            partitions=partitions,
            sessions=self.sessions,
            values=self.values,
            events=self.events,
            messages=self.messages,
            tables=self.tables,
            lag_events=self.lag_events,
            lag_messages=self.lag_messages,
            undecodable=self.undecodable,
            unverifiable=dict(self.unverifiable),
            counts=dict(self.counts),
            findings=tuple(self.findings),
            seconds=seconds,
        )
