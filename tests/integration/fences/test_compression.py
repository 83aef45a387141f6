"""What a publisher compresses is read: aiokafka has gzip by itself, the others by way of ``cramjam``."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas.ids import message_id_at
from tests.support.checker import Published
from tests.support.deployment import Deployment, LocalWorker
from tests.support.waiting import DEADLINE_S

Local = Callable[..., LocalWorker]


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_compressed_batch_is_answered(deployment: Deployment, local: Local, compression: str) -> None:
    """A plain producer's batch of repetitive text. Fails without ``cramjam``, but for gzip."""
    producer = Producer(
        {
            "bootstrap.servers": deployment.bootstrap_servers,
            "compression.type": compression,
            "linger.ms": 50,  # all in one batch
        }
    )
    async with local() as worker:
        for number in range(5):
            session, text = deployment.session_on(1, f"s{number}"), f"fast {number} " + "say it again " * 200

            def confirmed(error: Any, message: Any, session: str = session, text: str = text) -> None:
                assert error is None
                at = message.partition(), message.offset()
                known = message_id_at(deployment.names.messages, *at)
                deployment.published.append(Published(session, known, text, *at))

            body = json.dumps({"text": text}).encode()
            producer.produce(deployment.names.messages, body, session, 1, on_delivery=confirmed)
        assert await asyncio.to_thread(producer.flush, DEADLINE_S) == 0
        assert len(deployment.published) == 5
        await worker.until_answered()
        await worker.until_committed()
    await asyncio.to_thread(deployment.check)
