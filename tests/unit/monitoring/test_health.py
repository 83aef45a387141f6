"""Alive and ready: each reason for a no, and none without a reason."""

from typing import Any

import pytest

from streams.monitoring.health import alive, ready
from streams.partition import Phase
from streams.watchdog import Finding

_FINE: dict[str, Any] = {"blocked_s": 0.0, "loop_block_s": 30.0, "failure": None}
_READY: dict[str, Any] = {"is_draining": False, "is_assigned": True, "is_settled": True, "is_lease_over": False}


def test_alive_worker_has_no_problem() -> None:
    """What stands within its own bound is work, not a problem."""
    assert alive([Finding("partition 0 stands at 5", 100.0, 150.0, 210.0)], **_FINE).is_good


def test_alive_what_stands_beyond_its_bound_is_told_before_the_process_ends() -> None:
    """Late from the bound on, stuck only with the slack."""
    finding = Finding("partition 0 stands at 5", 151.0, 150.0, 210.0)
    assert (finding.is_late, finding.is_stuck) == (True, False)
    assert alive([finding], **_FINE).problems == ("partition 0 stands at 5 for 151 s",)


@pytest.mark.parametrize(("blocked_s", "is_good"), [(0.8, True), (14.9, True), (15.1, False)])
def test_alive_loop_may_be_blocked_for_half_of_its_bound(blocked_s: float, *, is_good: bool) -> None:
    """The built-in model's second is nothing."""
    assert alive([], **_FINE | {"blocked_s": blocked_s}).is_good is is_good


def test_alive_worker_that_fails_says_why() -> None:
    """As it ends."""
    assert alive([], **_FINE | {"failure": RuntimeError("disk full")}).problems == ("the worker is ending: disk full",)


def test_ready_with_all_partitions_open_and_as_a_spare_without_any() -> None:
    """One worker more than there are partitions is ready to take over."""
    assert ready({0: Phase.OPEN, 1: Phase.OPEN}, **_READY).is_good
    assert ready({}, **_READY).is_good


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"is_draining": True}, "takes no new message"),
        ({"is_assigned": False, "is_settled": False}, "assigned nothing yet"),
        ({"is_settled": False}, "recovery is under way"),
        ({"is_lease_over": True}, "lease is over"),
    ],
)
def test_not_ready_names_the_reason(change: dict[str, bool], problem: str) -> None:
    """One each."""
    (found,) = ready({0: Phase.OPEN}, **_READY | change).problems
    assert problem in found


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.OPENING, Phase.STOPPED])
def test_not_ready_names_each_partition_that_is_not_open(phase: Phase) -> None:
    """By number and phase."""
    assert ready({0: Phase.OPEN, 7: phase}, **_READY).problems == (f"partition 7 is {phase.name.lower()}",)
