"""A worker in the harness's process whose memory can be compared: quiet, and with its bounded caches empty."""

from __future__ import annotations

import asyncio

from schemas.compiled_encoder import _VARINTS
from streams.agent import Agent, Agents
from streams.providers.echo import EchoProvider
from streams.providers.scripted import ScriptedProvider
from streams.worker import Worker
from tests.soak.tools import SCRIPT, lookup
from tests.support.deployment import Deployment, LocalWorker
from topics.partitioner import partition_for

#: Few, so that a warm-up fills the memory of cancels whose message never came.
EARLY_CANCELS = 8

_QUIET_S = 60.0


def soak_agents() -> Agents:
    """A quick agent, a slow one whose turns can be cancelled, and one whose model calls a tool."""
    agents = (
        Agent(name="assistant", model="echo", provider=EchoProvider()),
        Agent(name="slow", model="echo:100@0.02", provider=EchoProvider(tokens=100, delay_s=0.02)),
        Agent(name="tools", model="scripted", provider=ScriptedProvider(SCRIPT), tools=(lookup,)),
    )
    return Agents({agent.name: agent for agent in agents}, default="assistant")


def local_worker(deployment: Deployment, name: str = "w1", agents: Agents | None = None) -> LocalWorker:
    """Make a worker of the running loop, to be entered with ``async with``."""
    spec = deployment.spec(name, limits={"max_early_cancels": EARLY_CANCELS})
    return LocalWorker(deployment, spec, agents or soak_agents())


async def until_quiet(worker: Worker) -> None:
    """Wait until nothing is under way; raises ``TimeoutError``."""
    async with asyncio.timeout(_QUIET_S):
        while not _is_quiet(worker):  # noqa: ASYNC110 -- many small conditions
            await asyncio.sleep(0.005)


def _is_quiet(worker: Worker) -> bool:
    ownership, env = worker.ownership, worker.env
    return not (
        ownership.messages_begun
        or env.write_path.unconfirmed
        or env.publisher._producer.backlog
        or any(
            cursor.acks.pending for tp, cursor in ownership.consumer.cursors.items() if tp.topic != env.names.control
        )
    )


def empty_caches(worker: Worker | None = None) -> None:
    """Empty what is kept on purpose and bounded (``test_caches.py``): it would look like growth until it is full."""
    partition_for.cache_clear()
    _VARINTS.clear()
    if worker is not None:
        for number in worker.ownership.partitions:
            worker.env.write_path._decoded.forget(number)
