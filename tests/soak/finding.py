"""What a soak found: each thing that was watched, whether it leaks, and where it grew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.soak.trend import Trend


@dataclass(frozen=True, slots=True)
class Limits:
    """When growth is a leak.

    A trend is a leak when it is surely above ``tolerated``, and flat when it is surely below ``noticed`` as well:
    noise is never taken for flatness.

    Attributes:
        tolerated: The least growth called a leak, in bytes per x.
        noticed: The growth that must not be possible any more, in bytes per x.
    """

    tolerated: float
    noticed: float

    def is_leak(self, trend: Trend) -> bool:
        """Whether the growth is surely above what is tolerated."""
        return trend.low > self.tolerated

    def is_flat(self, trend: Trend) -> bool:
        """Whether there is no leak, for sure."""
        return not self.is_leak(trend) and trend.high <= self.noticed


@dataclass(frozen=True, slots=True)
class Finding:
    """One watched thing.

    Attributes:
        what: Its name.
        is_fault: Whether it is not as it should be: it grew, or cannot be said not to have grown.
        is_sure: Whether it is known which: a trend lost in noise is a fault that is not sure.
        detail: The figures, for people.
        growth: Of traced memory that leaks: the places that grew most, ten at most.
    """

    what: str
    is_fault: bool
    detail: str
    growth: tuple[str, ...] = ()
    is_sure: bool = True


def finding_of_trend(what: str, trend: Trend, limits: Limits, *, per: str, growth: Iterable[str] = ()) -> Finding:
    """Judge a trend of bytes ``per`` something."""
    verdict = "leaks" if limits.is_leak(trend) else "flat" if limits.is_flat(trend) else "unclear"
    detail = (
        f"{verdict}: {trend.slope:+,.0f} bytes per {per}, 99 % between {trend.low:+,.0f} and {trend.high:+,.0f} "
        f"({trend.points} points; a leak from {limits.tolerated:,.0f}, seen below {limits.noticed:,.0f})"
    )
    return Finding(what, verdict != "flat", detail, tuple(growth), is_sure=verdict != "unclear")


@dataclass(slots=True)
class SoakReport:
    """All findings of a run."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """What is not as it should be."""
        return [finding for finding in self.findings if finding.is_fault]

    @property
    def leaks(self) -> list[Finding]:
        """What is for sure not as it should be."""
        return [finding for finding in self.faults if finding.is_sure]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"is_clean": not self.faults, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            lines.append(f"{'BAD' if finding.is_fault else 'ok':4}{finding.what}: {finding.detail}")
            lines += [f"       {place}" for place in finding.growth]
        return "\n".join(lines)

    def assert_clean(self) -> None:
        """Fail with the whole report where anything is not as it should be."""
        assert not self.faults, f"{len(self.faults)} faults\n{self}"

    def assert_nothing_leaks(self) -> None:
        """Fail with the whole report where anything is for sure not as it should be.

        For short runs: on a busy machine a few seconds may be too noisy to say anything, and that is no leak.
        """
        assert not self.leaks, f"{len(self.leaks)} leaks\n{self}"
