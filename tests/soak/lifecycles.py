"""Agents and workers in cycles in one process: made, warmed, used, closed; nothing of them stays."""

from __future__ import annotations

from streams.agent import Agent, Agents
from streams.providers.openai import OpenAIProvider
from tests.soak.conversations import Conversations
from tests.soak.driver import Driver
from tests.soak.finding import Finding, Limits
from tests.soak.local_worker import empty_caches, local_worker, soak_agents, until_quiet
from tests.soak.pace import Pace
from tests.soak.resources import findings_since, held_here
from tests.soak.traced import traced_growth, tracing
from tests.support.deployment import Deployment
from tests.support.model_server import ModelServer

_KIB = 1024
SESSIONS_A_LIFE = 5

#: The first lives import modules, compile patterns and fill what the process shares.
WARM_UP_LIVES = 2

#: Bytes per lifecycle. The promise is 1 MB; what is retained of a worker that is not let go is 3 MB.
LIMITS = Limits(tolerated=64 * _KIB, noticed=1024 * _KIB)


class Lives:
    """Lives of a worker and its agents, one of which calls a real HTTP endpoint."""

    def __init__(self, deployment: Deployment, driver: Driver, endpoint: str) -> None:
        self._deployment, self._driver, self._endpoint = deployment, driver, endpoint
        self._conversations = Conversations(driver)
        self.done = 0

    async def live(self) -> int:
        """Make agents and a worker, hold conversations, end them; returns how many lives there were."""
        async with local_worker(self._deployment, f"w{self.done}", self._agents()) as worker:
            await self._conversations.hold(SESSIONS_A_LIFE)
            session = f"endpoint-{self.done}"
            await self._driver.ask(session, f"{session}-1", "please say something", agent="endpoint")
            await until_quiet(worker.worker)
        empty_caches()
        self.done += 1
        return self.done

    def _agents(self) -> Agents:
        provider = OpenAIProvider("fake", base_url=self._endpoint)
        agents = (*soak_agents(), Agent(name="endpoint", model="openai:fake", provider=provider))
        return Agents({agent.name: agent for agent in agents}, default="assistant")


async def soak_lifecycles(deployment: Deployment, pace: Pace) -> list[Finding]:
    """Run lives one after the other and judge what they leave behind."""
    with tracing():
        async with (
            Driver(deployment.bootstrap_servers, deployment.names, deployment.partitions) as driver,
            ModelServer(keep_bodies=False).running() as server,
        ):
            lives = Lives(deployment, driver, f"{server.url}/v1")
            await lives.live()
            before = held_here()
            for _ in range(WARM_UP_LIVES - 1):
                await lives.live()
            found = await traced_growth("lifecycles", lives.live, LIMITS, pace, per="lifecycle")
            return [found, *await findings_since(before, "lifecycles")]
