"""No broker answers: a worker waits, and does not spin."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from tests.support.deployment import Deployment, LocalWorker


async def test_metadata_no_broker_answers_asked_again_at_leisure(
    deployment: Deployment, local: Callable[..., LocalWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiokafka's fetcher asks again as soon as a request has failed, which it does at once: some 4,000 times a second.

    Fails without ``LeasedConsumerThread._wait_for_metadata``.
    """
    async with local() as worker:
        thread = worker.worker.ownership.consumer._thread
        client = thread._ensure_consumer()._client
        asked = 0

        async def nobody(*_args: Any, **_kwargs: Any) -> None:
            nonlocal asked
            asked += 1

        async def ask_for_a_second() -> None:
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                await client.force_metadata_update()

        with monkeypatch.context() as away:
            away.setattr(client, "_get_conn", nobody)
            await thread.call_thread(ask_for_a_second)
        assert 0 < asked < 100
        deployment.publish("s", "fast again")
        deployment.flush()
        await worker.until_answered()


async def test_broker_gone_while_a_worker_starts_is_waited_for(
    deployment: Deployment, local: Callable[..., LocalWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topics were there, and the next connection is refused: the worker waits instead of hanging for ever.

    Fails without the loop in ``LeasedConsumerThread._connect``, and with a producer of Faust's beside ours.
    """
    bootstrap, refused = AIOKafkaClient.bootstrap, 0

    async def refuse_twice(client: AIOKafkaClient) -> None:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise KafkaConnectionError("Unable to bootstrap")
        await bootstrap(client)

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", refuse_twice)
    async with local() as worker:
        assert refused == 2
        deployment.publish("s", "fast start")
        deployment.flush()
        await worker.until_answered()
