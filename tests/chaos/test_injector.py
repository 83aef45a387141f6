"""What a report says of faults is what came of them, not what was planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.chaos import injector
from tests.chaos.fleet import Fleet
from tests.chaos.plan import Fault, Kind, Plan
from tests.chaos.report import RunReport
from tests.chaos.verdict import Verdict


def _report(folder: Path, kind: Kind, *, is_busy: bool = False, said: str = "") -> RunReport:
    """Inject one fault into a worker that does nothing but say something when its disk is full."""
    plan = Plan(1, 1.0, 1, (Fault(0.0, kind, 0, 0.0, 1),))
    with Fleet(folder, {}) as fleet:
        slot = fleet.slot("w1")
        slot.log.write_text("No space left on device, long ago\n")
        if is_busy:
            slot.busy.acquire()
        cast("Any", slot).fill_disk = lambda: slot.log.write_text(slot.log.read_text() + said)
        hurt = injector.Injector(plan, fleet, cast("Any", None), say=lambda _text: None)
        hurt.start()
        hurt.finish()
    assert not hurt.errors
    return RunReport(plan, Verdict(), "", hurt.done)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fault needs does not come."""
    monkeypatch.setattr(injector, "_WAIT_S", 0.05)
    monkeypatch.setattr(injector, "_MET_S", 0.05)


def test_injector_no_file_to_damage_left_out(tmp_path: Path) -> None:
    """A worker that has no database yet is not damaged."""
    report = _report(tmp_path, Kind.CORRUPT_RUNNING)
    assert not report.injected
    assert report.notes == ["corrupt-running: left out: no file of a database yet"]


def test_injector_worker_busy_left_out(tmp_path: Path) -> None:
    """Another fault works on it for too long."""
    report = _report(tmp_path, Kind.KILL, is_busy=True)
    assert not report.injected
    assert report.notes == ["kill: left out: the worker is busy"]


def test_injector_full_disk_that_nobody_met_noted(tmp_path: Path) -> None:
    """Nobody wanted to write; what was said before does not count."""
    assert _report(tmp_path, Kind.DISK_FULL).notes == [f"disk-full: {injector.NOT_MET}"]


def test_injector_full_disk_that_was_met_noted(tmp_path: Path) -> None:
    """The worker said so."""
    report = _report(tmp_path, Kind.DISK_FULL, said="IO error: No space left on device")
    assert report.notes == ["disk-full: no space, it said"]
    assert report.injected == {"disk-full": 1}
