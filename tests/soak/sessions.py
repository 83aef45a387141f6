"""Sessions in cycles on one worker: traced memory per session, and all handles, stay as they are."""

from __future__ import annotations

from tests.soak.conversations import Conversations
from tests.soak.driver import Driver
from tests.soak.finding import Finding, Limits
from tests.soak.local_worker import empty_caches, local_worker, until_quiet
from tests.soak.pace import Pace
from tests.soak.resources import findings_since, held_here
from tests.soak.traced import traced_growth, tracing
from tests.support.deployment import Deployment

SESSIONS_A_CYCLE = 60
WARM_UP_CYCLES = 4

#: Bytes per session. A reference in a list alone is 8, and with the least object behind it 64.
LIMITS = Limits(tolerated=16, noticed=256)


async def soak_sessions(
    deployment: Deployment, pace: Pace, *, sessions_a_cycle: int = SESSIONS_A_CYCLE
) -> list[Finding]:
    """Run cycles of sessions on a worker of this process and judge what they leave behind."""
    with tracing():
        async with (
            Driver(deployment.bootstrap_servers, deployment.names, deployment.partitions) as driver,
            local_worker(deployment) as worker,
        ):
            conversations = Conversations(driver)

            async def cycle() -> int:
                await conversations.hold(sessions_a_cycle)
                await until_quiet(worker.worker)
                empty_caches(worker.worker)
                return conversations.done

            for _ in range(WARM_UP_CYCLES):
                await cycle()
            before = held_here()
            found = await traced_growth("sessions", cycle, LIMITS, pace, per="session")
            return [found, *await findings_since(before, "sessions")]
