"""The judge sees processes that end without a reason."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.doctored import Doctored
from tests.chaos.evidence import Wound
from tests.chaos.fleet import Exit
from tests.chaos.judge import judge


def _exit(at: float, code: int = 1, *, sent: int = 0, was_ready: bool = True, worker: str = "w1") -> Exit:
    return Exit(worker, 1, code, at, sent, was_ready, "said")


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


def test_check_exits_full_disk_explains_all_while_it_lasts_and_one_more_soon() -> None:
    """No start can succeed on it."""
    full = Wound("w1", "disk-full", 10.0, 20.0, until=50.0)
    assert _faults([_exit(11.0), _exit(13.0), _exit(21.0)], full) == 0
    assert _faults([_exit(21.0), _exit(22.0)], full) == 1
    assert _faults([_exit(51.0)], full) == 1


def test_check_exits_long_outage_explains_one_of_each_worker() -> None:
    """It is everybody's."""
    outage = Wound("", "broker-stop", 10.0, 10.0)
    assert _faults([_exit(11.0), _exit(12.0, worker="w2")], outage) == 0
    assert _faults([_exit(11.0), _exit(12.0, worker="w1")], outage) == 1
