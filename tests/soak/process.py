"""A real worker process, watched from outside: its memory, its descriptors and its threads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import psutil

from tests.soak.conversations import Conversations
from tests.soak.driver import Driver
from tests.soak.finding import Finding, Limits, finding_of_trend
from tests.soak.local_worker import EARLY_CANCELS
from tests.soak.pace import Pace
from tests.soak.resources import findings_since, held_by
from tests.soak.tools import tools_agent
from tests.soak.trend import trend_of
from tests.support.deployment import Deployment
from tests.support.processes import start_worker

SESSIONS_A_CYCLE = 150

#: More sessions than the worker keeps decoded (``state/decoded.py``): until then memory has to grow. And some thousands
#: more, in which table files and arenas settle.
WARM_UP_SESSIONS = 8000

#: Bytes of a whole run. Native memory goes on settling, by arenas and table files: 1.2 KB a session over 8,700 sessions
#: (10 MB) in one of five runs, and flat in four. A run of few sessions cannot tell that from a leak, one of many can.
_SETTLING_BYTES = 16 * 1024 * 1024

#: Bytes per session, however many there were: 78 were measured from 100,000 to a million.
_STEADY_BYTES = 256

#: Bytes per session, however few there were: a leak of whole sessions is found at once.
_MOST_BYTES = 2 * 1024

#: Of what is tolerated, the growth that must not be possible any more.
_NOTICED = 8

#: RocksDB's native memory is bounded (``state/options.py``); small bounds are reached in a short run.
_BOUNDS = {
    "BARNABAS_LIMITS__MAX_EARLY_CANCELS": str(EARLY_CANCELS),
    "BARNABAS_STORE__WRITE_BUFFER_BYTES": str(256 * 1024),
    "BARNABAS_STORE__BLOCK_CACHE_BYTES": str(1024 * 1024),
    "BARNABAS_STORE__MAX_OPEN_FILES": "16",
}


def limits_over(sessions: float) -> Limits:
    """When growth over so many sessions is a leak: the more there were, the sharper.

    Over the run as a whole 16 MiB and 256 bytes a session are tolerated, and never more than 2 KiB a session: so much
    up to 9,000 sessions, 424 bytes at 100,000 and 273 at a million.
    """
    tolerated = min(_MOST_BYTES, _STEADY_BYTES + _SETTLING_BYTES / max(sessions, 1.0))
    return Limits(tolerated=tolerated, noticed=_NOTICED * tolerated)


@asynccontextmanager
async def watched_process(
    deployment: Deployment, env: Mapping[str, str]
) -> AsyncIterator[tuple[psutil.Process, Driver]]:
    """Give a worker process and a client of it; it has to end in order when asked to.

    Args:
        deployment: Its topics.
        env: The worker's settings beside those.
    """
    with start_worker(
        bootstrap_servers=deployment.bootstrap_servers,
        prefix=deployment.names.prefix,
        data_dir=deployment.folder / "process",
        partitions=deployment.partitions,
        env=env,
    ) as worker:
        await asyncio.to_thread(worker.wait_ready)
        async with Driver(deployment.bootstrap_servers, deployment.names, deployment.partitions) as driver:
            yield psutil.Process(worker.pid), driver
        code = await asyncio.to_thread(worker.stop)
        assert code == 0, worker.tail()


async def soak_process(deployment: Deployment, pace: Pace) -> list[Finding]:
    """Run cycles of sessions on a worker process and judge its memory and its handles."""
    agents = {
        "assistant": {"model": "echo"},
        "slow": {"model": "echo:100@0.02"},
        "tools": tools_agent(deployment.folder),
    }
    async with watched_process(deployment, {**_BOUNDS, "BARNABAS_AGENTS": json.dumps(agents)}) as (process, driver):
        conversations = Conversations(driver)
        await conversations.begin(WARM_UP_SESSIONS)
        await conversations.hold(SESSIONS_A_CYCLE)
        before = held_by(process)
        points = [(conversations.done, process.memory_info().rss)]

        def limits() -> Limits:
            return limits_over(points[-1][0] - points[0][0])

        for _ in pace.cycles("process", is_flat=lambda: limits().is_flat(trend_of(points))):
            await conversations.hold(SESSIONS_A_CYCLE)
            points.append((conversations.done, process.memory_info().rss))
        found = finding_of_trend("process: resident memory", trend_of(points), limits(), per="session")
        return [found, *await findings_since(before, "process", lambda: held_by(process))]
