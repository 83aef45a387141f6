from collections.abc import Awaitable, Callable

import pytest

from tests.soak import resources
from tests.soak.finding import Finding, SoakReport
from tests.soak.lifecycles import soak_lifecycles
from tests.soak.pace import Pace
from tests.soak.plants import planted
from tests.soak.process import soak_process
from tests.soak.rebalances import soak_rebalances
from tests.soak.sessions import soak_sessions
from tests.support.deployment import Deployment

#: A worker that is traced is slow, and the machine may be busy.
pytestmark = pytest.mark.timeout(400)


def pace(seconds: float, **options: int) -> Pace:
    """So many seconds, unless a judgement needs more."""
    return Pace(seconds, lambda _what, _part: None, **options)


@pytest.mark.parametrize(
    ("run", "seconds"), [(soak_sessions, 8.0), (soak_lifecycles, 3.0), (soak_process, 5.0), (soak_rebalances, 1.0)]
)
async def test_soak_nothing_grows(
    deployment: Deployment, run: Callable[[Deployment, Pace], Awaitable[list[Finding]]], seconds: float
) -> None:
    """Sessions, agents and workers come and go: memory, tasks, files, threads and RocksDB handles stay.

    ``test_planted_*`` show that each kind of leak is found; by hand for longer, and there what is not clear is a fault
    as well: ``make soak DURATION=600``.
    """
    SoakReport(await run(deployment, pace(seconds))).assert_nothing_leaks()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what was planted to go."""
    monkeypatch.setattr(resources, "_SETTLE_S", 1.0)


@pytest.mark.usefixtures("hasty")
async def test_planted_in_sessions_each_is_found(deployment: Deployment) -> None:
    """A list that keeps turns, a task never awaited and a file never closed are told apart, with their places."""
    with planted("list", "task", "file"):
        report = SoakReport(await soak_sessions(deployment, pace(0.1, patience=1), sessions_a_cycle=10))
    found = {finding.what: finding for finding in report.leaks}
    assert found.keys() >= {"sessions: traced memory", "sessions: tasks", "sessions: file descriptors"}
    assert any("plants.py" in place for place in found["sessions: traced memory"].growth)
    assert "plants.py" in found["sessions: file descriptors"].detail
    assert "waits_for_nothing" in found["sessions: tasks"].detail


@pytest.mark.usefixtures("hasty")
async def test_planted_in_lifecycles_each_is_found(deployment: Deployment) -> None:
    """Databases that stay open, and workers that the collector never sees again, are found."""
    with planted("store", "frozen"):
        report = SoakReport(await soak_lifecycles(deployment, pace(0.1, patience=1)))
    found = {finding.what: finding for finding in report.leaks}
    assert found.keys() >= {"lifecycles: traced memory", "lifecycles: RocksDB handles"}
    assert found["lifecycles: traced memory"].growth
