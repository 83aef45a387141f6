"""The soak: every kind of leak looked for, one after the other, in the time given."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.soak.finding import SoakReport
from tests.soak.lifecycles import soak_lifecycles
from tests.soak.pace import OnCycle, Pace
from tests.soak.process import soak_process
from tests.soak.rebalances import soak_rebalances
from tests.soak.sessions import soak_sessions
from tests.support.deployment import Deployment
from topics.names import TopicNames

#: Of the time, to sessions, lives of workers, and a process watched from outside; rebalances take the rest.
_SHARES = {"sessions": 0.4, "lifecycles": 0.25, "process": 0.25}


async def soak(bootstrap_servers: str, prefix: str, folder: Path, seconds: float, on_cycle: OnCycle) -> SoakReport:
    """Run it all, each part on topics of its own; a short time is exceeded by what a judgement needs at least.

    Args:
        bootstrap_servers: A running Kafka.
        prefix: The parts' topics begin with it.
        folder: For the workers' data.
        seconds: How long it measures in all.
        on_cycle: Told what is measured and which part of its time is over.
    """
    report = SoakReport()
    for part, run in (("sessions", soak_sessions), ("lifecycles", soak_lifecycles), ("process", soak_process)):
        with closing(_deployment(bootstrap_servers, prefix, folder, part)) as deployment:
            report.findings += await run(deployment, Pace(seconds * _SHARES[part], on_cycle))
    with closing(_deployment(bootstrap_servers, prefix, folder, "rebalances")) as deployment:
        report.findings += await soak_rebalances(deployment, Pace(seconds * (1 - sum(_SHARES.values())), on_cycle))
    return report


def _deployment(bootstrap_servers: str, prefix: str, folder: Path, part: str) -> Deployment:
    path = folder / part
    path.mkdir(parents=True)
    return Deployment(bootstrap_servers, TopicNames(f"{prefix}-{part}"), path)
