"""What a run tells: a table of many runs, one run in words, and everything as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from tests.chaos.fleet import Exit
from tests.chaos.injector import Done
from tests.chaos.plan import Plan
from tests.chaos.verdict import Verdict

_SHOWN = 10


@dataclass
class RunReport:
    """One run.

    Attributes:
        plan: What was to be done.
        done: What was done, and when.
        exits: Processes that ended.
        verdict: What the judge found; violations of the run itself (a stall) are among them.
        seconds: From the first process to the verdict.
        folder: Where its logs and topics lie, while they are kept.
        options: The command line's words that make this run again.
    """

    plan: Plan
    verdict: Verdict
    options: str
    done: list[Done] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    seconds: float = 0.0
    folder: str = ""

    @property
    def injected(self) -> Counter[str]:
        """Faults that were done, by kind."""
        return Counter(str(done.fault.kind) for done in self.done if done.is_done)

    @property
    def notes(self) -> list[str]:
        """What is known of single faults: where, whether it was met, why it was left out."""
        return [f"{done.fault.kind}: {done.note}" for done in self.done if done.note]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "seed": self.plan.seed,
            "workers": self.plan.workers,
            "standby_replicas": self.plan.standby_replicas,
            "shed_lag_s": self.plan.shed_lag_s,
            "load_s": self.plan.load_s,
            "options": self.options,
            "seconds": round(self.seconds, 1),
            "faults": dict(self.injected),
            "schedule": [str(fault) for fault in self.plan.faults],
            "done": [asdict(done) for done in sorted(self.done, key=lambda done: done.began_s)],
            "exits": [asdict(exit_) for exit_ in self.exits],
            **{name: _plain(value) for name, value in vars(self.verdict).items()},
        }

    def __str__(self) -> str:
        verdict, pauses = self.verdict, self.verdict.pauses
        unasked = Counter(exit_.code for exit_ in self.exits if not exit_.is_asked)
        lines = [
            (
                f"seed {self.plan.seed}: {self.plan.workers} workers, {self.plan.standby_replicas} standbys, "
                f"messages shed after {self.plan.shed_lag_s or 'no'} s, {self.plan.load_s:g} s of load, "
                f"{self.injected.total()} faults: {_counts(self.injected)}"
            ),
            f"{verdict.messages} messages, {verdict.repeated} copies recognised, outcomes {_counts(verdict.outcomes)}",
            f"of the faults: {'; '.join(self.notes) or 'nothing'}",
            f"dead letters {_counts(verdict.dead_letters)}; log records that do not count {_counts(verdict.rejected)}",
            (
                f"{verdict.openings} openings, {verdict.cut_off} turns cut off, {verdict.calls} model calls, "
                f"{verdict.repeated_calls} of them repeated, {verdict.effects} tool effects; "
                f"{verdict.samples} commits and {verdict.databases} databases read"
            ),
            f"exits not asked for: {_counts(unasked)}",
            (
                f"longest silence {pauses.longest_s:.1f} s (session {pauses.session_id}); "
                f"answers p50 {pauses.answer_p50_s:.1f} s, max {pauses.answer_max_s:.1f} s"
            ),
        ]
        for kind, found in verdict.violations.items():
            lines.append(f"VIOLATED: {kind}: {len(found)} times")
            lines += [f"    {text[:600]}" for text in found[:_SHOWN]]
        if verdict.is_clean:
            lines.append("no violations")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return counters and dataclasses as JSON knows them."""
    if isinstance(value, dict):
        return {str(name): entry for name, entry in value.items()}
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _counts(counts: Counter[Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=str)) or "none"


def markdown(reports: Sequence[RunReport]) -> str:
    """Return many runs as a page: sums, and a table with a row for each."""
    faults = sum((report.injected for report in reports), Counter[str]())
    verdicts = [report.verdict for report in reports]
    rejected = sum((verdict.rejected for verdict in verdicts), Counter[str]())
    violations = sum(len(found) for verdict in verdicts for found in verdict.violations.values())
    lines = [
        "# Chaos report",
        "",
        (
            f"{len(reports)} runs, {sum(report.plan.load_s for report in reports) / 60:.1f} minutes of load, "
            f"{faults.total()} faults, {sum(verdict.messages for verdict in verdicts)} messages, "
            f"**{violations} violations**."
        ),
        "",
        f"- Faults: {_counts(faults)}",
        f"- Copies of messages recognised: {sum(verdict.repeated for verdict in verdicts)}",
        f"- Records of the log that do not count, by fold rule: {_counts(rejected)}",
        (
            f"- Model calls repeated: {sum(verdict.repeated_calls for verdict in verdicts)} of "
            f"{sum(verdict.calls for verdict in verdicts)}"
        ),
        f"- Longest silence of a subscriber: {max((v.pauses.longest_s for v in verdicts), default=0.0):.1f} s",
        "",
        (
            "| seed | workers | load, s | faults | messages | copies | not counted | cut off | calls repeated "
            "| openings | longest silence, s | violations |"
        ),
        "|---" * 12 + "|",
    ]
    for report in reports:
        verdict = report.verdict
        broken = sum(len(found) for found in verdict.violations.values())
        lines.append(
            f"| {report.plan.seed} | {report.plan.workers} | {report.plan.load_s:g} | {report.injected.total()} "
            f"| {verdict.messages} | {verdict.repeated} | {verdict.rejected.total()} | {verdict.cut_off} "
            f"| {verdict.repeated_calls} | {verdict.openings} | {verdict.pauses.longest_s:.1f} | {broken} |"
        )
    return "\n".join(lines) + "\n"


def write_reports(reports: Sequence[RunReport], folder: Path) -> None:
    """Write ``chaos.md`` and ``chaos.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chaos.md").write_text(markdown(reports))
    (folder / "chaos.json").write_text(
        json.dumps([report.as_dict() for report in reports], indent=2, default=str) + "\n"
    )
