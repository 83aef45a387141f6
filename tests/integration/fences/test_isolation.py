"""P3 and transactions: how the worker's own consumer fetches."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED
from confluent_kafka import Producer
from faust.types import TP

from schemas.ids import message_id_at
from streams.consumer_thread import FETCH_MAX_WAIT_MS, PREFETCH_BACKOFF_S
from tests.support.checker import Published
from tests.support.deployment import Deployment, LocalWorker
from tests.support.waiting import DEADLINE_S

Local = Callable[..., LocalWorker]


async def test_consumer_fetches_short_and_committed_only(deployment: Deployment, local: Local) -> None:
    """What the fetcher itself was made with (P3): all are set on private parts of aiokafka."""
    async with local() as worker:
        fetcher = worker.worker.ownership.consumer._thread._ensure_consumer()._fetcher
        assert fetcher._fetch_max_wait_ms == FETCH_MAX_WAIT_MS
        assert fetcher._isolation_level == READ_COMMITTED
        assert fetcher._prefetch_backoff == PREFETCH_BACKOFF_S


async def test_aborted_message_is_not_answered_and_the_committed_one_is(deployment: Deployment, local: Local) -> None:
    """Fails with ``read_uncommitted``: a message whose publisher took it back is answered."""
    session = deployment.session_on(1)
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "transactional.id": deployment.names.prefix, "log_level": 0}
    )
    offsets: dict[str, int] = {}

    def publish(text: str, end: Callable[[float], object]) -> None:
        def delivered(error: Any, message: Any) -> None:
            assert error is None
            offsets[text] = message.offset()

        producer.begin_transaction()
        body = json.dumps({"text": text}).encode()
        producer.produce(deployment.names.messages, body, session, 1, on_delivery=delivered)
        assert producer.flush(DEADLINE_S) == 0  # in the log before its transaction ends
        end(DEADLINE_S)

    async with local() as worker:
        await asyncio.to_thread(producer.init_transactions, DEADLINE_S)
        await asyncio.to_thread(publish, "fast aborted", producer.abort_transaction)
        await asyncio.to_thread(publish, "fast committed", producer.commit_transaction)
        assert offsets == {"fast aborted": 0, "fast committed": 2}
        known = message_id_at(deployment.names.messages, 1, 2)
        deployment.published.append(Published(session, known, "fast committed", 1, 2))
        await worker.until_answered()
        cursor = worker.worker.ownership.consumer.cursors[TP(deployment.names.messages, 1)]
        await worker.until(lambda: cursor.committed >= 3, "the commit passes the aborted one")
    assert [accepted.event.message_id for accepted in deployment.log().outcomes.values()] == [known]
    assert [call.messages[-1].content for call in deployment.calls()] == ["fast committed"]
    await asyncio.to_thread(deployment.check)
