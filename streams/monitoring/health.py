"""Alive and ready: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.partition import Phase
from streams.watchdog import Finding


class Report(NamedTuple):
    """An answer.

    Attributes:
        problems: What is wrong, a sentence each.
    """

    problems: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def alive(
    findings: Iterable[Finding], *, blocked_s: float, loop_block_s: float, failure: BaseException | None
) -> Report:
    """Say whether the worker still moves: another start would help where it does not.

    Args:
        findings: The watchdog's: recovery, polls, each partition's oldest message, control and event.
        blocked_s: How long the event loop has been blocked, in seconds.
        loop_block_s: Longest it may be; half of it is not healthy.
        failure: Why the worker is ending, None while it is not.
    """
    problems = [str(finding) for finding in findings if finding.is_late]
    if blocked_s > loop_block_s / 2:
        problems.insert(0, f"the event loop is blocked for {blocked_s:.1f} s")
    if failure is not None:
        problems.insert(0, f"the worker is ending: {failure}")
    return Report(tuple(problems))


def ready(
    phases: Mapping[int, Phase],
    *,
    is_draining: bool,
    is_assigned: bool,
    is_settled: bool,
    is_lease_over: bool,
) -> Report:
    """Say whether the worker does all that its place in the group asks for; a spare one without partitions does.

    Args:
        phases: Of the owned partitions, by number.
        is_draining: It is on its way out.
        is_assigned: The group has given it its partitions.
        is_settled: They are recovered.
        is_lease_over: The broker has not heard from it in time.
    """
    if is_draining:
        return Report(("the worker is ending: it takes no new message",))
    if not is_assigned:
        return Report(("the group has assigned nothing yet",))
    problems = []
    if is_lease_over:
        problems.append("the lease is over: no heartbeat reached the broker in time")
    if not is_settled:
        problems.append("recovery is under way")
    else:
        problems += [
            f"partition {number} is {phase.name.lower()}" for number, phase in phases.items() if phase is not Phase.OPEN
        ]
    return Report(tuple(problems))
