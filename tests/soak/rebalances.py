"""A second worker joins and leaves: the first has all partitions again, and holds what it held."""

from __future__ import annotations

from tests.soak.conversations import Conversations
from tests.soak.driver import Driver
from tests.soak.finding import Finding
from tests.soak.local_worker import local_worker, until_quiet
from tests.soak.pace import Pace
from tests.soak.resources import findings_since, held_here
from tests.support.deployment import Deployment, LocalWorker

SESSIONS_A_CYCLE = 20
_TIMEOUT_S = 60.0


async def soak_rebalances(deployment: Deployment, pace: Pace) -> list[Finding]:
    """Have a second worker of this process join and leave, twice at least, and judge what that leaves behind."""
    async with (
        Driver(deployment.bootstrap_servers, deployment.names, deployment.partitions) as driver,
        local_worker(deployment, "first") as first,
    ):
        conversations = Conversations(driver)
        await conversations.hold(SESSIONS_A_CYCLE)
        await _join_and_leave(deployment, first, conversations)  # what the first guest brings in stays: modules, pools
        before = held_here()
        for _ in pace.cycles("rebalances", at_least=2):
            await _join_and_leave(deployment, first, conversations)
        return await findings_since(before, "rebalances")


async def _join_and_leave(deployment: Deployment, first: LocalWorker, conversations: Conversations) -> None:
    partitions = first.worker.ownership.partitions
    async with local_worker(deployment, "second") as second:
        await first.until(lambda: len(partitions) < deployment.partitions, "partitions are handed over", _TIMEOUT_S)
        await conversations.hold(SESSIONS_A_CYCLE)
        await until_quiet(second.worker)
    await first.until(
        lambda: len(partitions) == deployment.partitions and first.is_open, "all partitions are back", _TIMEOUT_S
    )
    await conversations.hold(SESSIONS_A_CYCLE)
    await until_quiet(first.worker)
