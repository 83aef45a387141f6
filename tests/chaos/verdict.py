"""What the judge found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.pauses import Pauses


@dataclass
class Verdict:
    """What the judge found.

    Attributes:
        violations: Broken promises by kind; empty when all were kept.
        messages: Distinct messages in the topic.
        confirmed: Records confirmed to their publishers.
        repeated: Copies of messages that the workers recognised.
        outcomes: Accepted outcomes by type.
        dead_letters: By cause.
        rejected: Records of the log that do not count, by fold rule.
        openings: How often a partition was opened.
        calls: Model calls.
        repeated_calls: Calls for a message beyond its first.
        cut_off: Turns with more than one attempt.
        effects: Tools' effects.
        samples: Commit samples judged.
        databases: Local databases read.
        excused: Databases that the suite has damaged, which no worker had to read since.
        pauses: What subscribers waited for.
    """

    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    messages: int = 0
    confirmed: int = 0
    repeated: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    openings: int = 0
    calls: int = 0
    repeated_calls: int = 0
    cut_off: int = 0
    effects: int = 0
    samples: int = 0
    databases: int = 0
    excused: list[Path] = field(default_factory=list)
    pauses: Pauses = field(default_factory=Pauses)

    def fault(self, kind: str, text: str) -> None:
        """Note a broken promise."""
        self.violations[kind].append(text)

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations
