"""What befalls aiokafka's own tasks: the worker goes on, or ends at once; it never stands there without a group."""

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.errors import KafkaError

from tests.support.deployment import Deployment, LocalWorker

Local = Callable[..., LocalWorker]


async def test_group_refused_once_is_joined_again(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that aiokafka does not know, as a broker gives that has just started.

    Fails without ``_survive_group_errors``: aiokafka waits until somebody asks it for that error.
    """
    join, errors = CoordinatorGroupRebalance.perform_group_join, [KafkaError("unknown"), KafkaError("unknown")]

    async def refused_at_first(self: Any) -> Any:
        if errors:
            raise errors.pop()
        return await join(self)

    monkeypatch.setattr(CoordinatorGroupRebalance, "perform_group_join", refused_at_first)
    async with local() as worker:
        assert not errors
        deployment.publish("s", "fast one")
        deployment.flush()
        await worker.until_answered()


async def test_heartbeat_that_fails_for_an_unknown_reason_is_followed_by_another_assignment(
    deployment: Deployment, local: Local
) -> None:
    """The task that sends heartbeats has ended: without a rejoin nobody would send another. Fails as above."""
    async with local() as worker:
        ownership = worker.worker.ownership
        coordinator = ownership.consumer._thread._ensure_consumer()._coordinator
        heartbeat, generation, errors = coordinator._do_heartbeat, ownership.generation, [KafkaError("unknown")]

        async def fails_once() -> bool:
            if errors:
                raise errors.pop()
            return bool(await heartbeat())

        coordinator._do_heartbeat = fails_once
        await worker.until(lambda: ownership.generation > generation and ownership.is_settled, "it is assigned again")
        deployment.publish("s", "fast one")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()


@pytest.mark.parametrize(
    ("owner", "routine"),
    [(GroupCoordinator, "_maybe_do_autocommit"), (Fetcher, "_get_actions_per_node")],
    ids=["group", "fetch"],
)
async def test_task_of_aiokafka_s_that_fails_ends_the_worker(
    local: Local, monkeypatch: pytest.MonkeyPatch, owner: type, routine: str
) -> None:
    """In order, and with its cause. Fails without ``_end_with_tasks``: for ever alive, and never a message.

    The group's failure is met by whoever waits for records as well, where somebody does.
    """

    def broken(*_args: Any) -> None:
        raise AssertionError("a bug in there")

    worker = local()
    async with worker:
        monkeypatch.setattr(owner, routine, broken)
        consumer = worker.worker.ownership.consumer._thread._ensure_consumer()
        consumer._loop.call_soon_threadsafe(consumer._coordinator.request_rejoin)
        assert await worker.ended() != 0
        assert "a bug in there" in str(worker.worker.failure)
