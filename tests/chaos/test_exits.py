"""The judge sees processes that end without a reason."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.doctored import Doctored
from tests.chaos.evidence import Wound
from tests.chaos.fleet import Exit
from tests.chaos.judge import judge


def _exit(
    at: float, code: int = 1, *, sent: int = 0, was_ready: bool = True, worker: str = "w1", started_at: float = 0.0
) -> Exit:
    return Exit(worker, 1, code, started_at, at, sent, was_ready, "said")


def _faults(exits: list[Exit], *wounds: Wound) -> int:
    return len(judge(Doctored().evidence(exits=exits, wounds=list(wounds))).violations.get("exit", []))


@pytest.mark.parametrize(
    ("exit_", "faults"),
    [
        (_exit(1.0, -9, sent=signal.SIGKILL), 0),
        (_exit(1.0, 0, sent=signal.SIGTERM), 0),
        (_exit(1.0, -15, sent=signal.SIGTERM, was_ready=False), 0),
        (_exit(1.0, -15, sent=signal.SIGTERM), 1),
        (_exit(1.0, 1, sent=signal.SIGTERM), 1),
        (_exit(1.0, 1), 1),
        (_exit(1.0, 0), 1),
        (_exit(1.0, -9), 1),
        (_exit(1.0, 1, sent=signal.SIGKILL), 1),
    ],
)
def test_check_exits_signals_have_their_codes(exit_: Exit, faults: int) -> None:
    """SIGTERM gives 0, and -15 only before there was a handler; nothing ends by itself."""
    assert _faults([exit_]) == faults


def test_check_exits_damage_explains_one_exit_of_its_worker() -> None:
    """A second one is a crash loop, an earlier one or another worker's has nothing to do with it."""
    damage = Wound("w1", "corrupt-down", 10.0, 10.0)
    assert _faults([_exit(11.0)], damage) == 0
    assert _faults([_exit(11.0), _exit(12.0)], damage) == 1
    assert _faults([_exit(11.0), _exit(12.0)], damage, damage) == 0
    assert _faults([_exit(9.0)], damage) == 1
    assert _faults([_exit(11.0, worker="w2")], damage) == 1


def test_check_exits_full_disk_explains_each_process_that_lived_in_it_however_late_it_ends() -> None:
    """No start can succeed on it, and one that ran before may need a write to notice; a busy machine says so late."""
    full = Wound("w1", "disk-full", 10.0, 20.0)
    lived = [_exit(11.0), _exit(13.0, started_at=12.0), _exit(500.0, started_at=19.0)]
    assert _faults(lived, full) == 0
    assert _faults([_exit(9.0)], full) == 1
    assert _faults([_exit(11.0, worker="w2")], full) == 1


def test_check_exits_full_disk_explains_one_later_process_that_never_was_ready() -> None:
    """It found what was broken; the next one, or one that had read all of it, has no excuse."""
    full = Wound("w1", "disk-full", 10.0, 20.0)
    late = _exit(500.0, started_at=21.0, was_ready=False)
    assert _faults([late], full) == 0
    assert _faults([late, late], full) == 1
    assert _faults([_exit(500.0, started_at=21.0)], full) == 1


def test_check_exits_long_outage_explains_each_process_that_lived_in_it() -> None:
    """It is everybody's."""
    outage = Wound("", "broker-stop", 10.0, 200.0)
    assert _faults([_exit(11.0), _exit(12.0, worker="w2"), _exit(300.0, started_at=199.0)], outage) == 0
    assert _faults([_exit(300.0, started_at=201.0)], outage) == 1
