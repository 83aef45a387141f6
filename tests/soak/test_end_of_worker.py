"""What a worker's end gives back at once, without a collection of garbage."""

import asyncio
import gc

import psutil

from streams.producer import Record, RecordProducer
from tests.soak.local_worker import local_worker
from tests.support.deployment import Deployment


async def test_producer_closed_its_threads_and_sockets_are_gone(deployment: Deployment) -> None:
    """While the producer is still referenced; fails where ``close()`` only flushes."""
    await asyncio.to_thread(int)  # the thread that closes it
    await _send_and_close(deployment)  # whatever a process opens once
    process = psutil.Process()
    threads, descriptors = process.num_threads(), process.num_fds()
    producer, most = await _send_and_close(deployment)
    assert most > threads
    assert process.num_threads() <= threads  # fewer where an earlier test's own end meanwhile
    assert process.num_fds() <= descriptors
    del producer


async def _send_and_close(deployment: Deployment) -> tuple[RecordProducer, int]:
    """Return the closed producer, and how many threads there were before."""
    producer = RecordProducer({"bootstrap.servers": deployment.bootstrap_servers})
    delivered = asyncio.get_running_loop().create_future()
    topic = deployment.names.dead_letters
    producer.send(Record(topic, 0, b"k", b"v", [], lambda error, _offset: delivered.set_result(error)))
    assert await asyncio.wait_for(delivered, 60.0) is None
    threads = psutil.Process().num_threads()
    await producer.close()
    return producer, threads


async def test_producer_closed_without_broker_what_is_left_is_reported_and_close_returns() -> None:
    """A broker that never answers holds no worker's end: its records are unknown."""
    producer = RecordProducer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    reported: list[object] = []
    producer.send(Record("t", 0, b"k", b"v", [], lambda error, _offset: reported.append(error)))
    async with asyncio.timeout(60.0):
        await producer.close(timeout_s=0.2)
    assert len(reported) == 1
    assert reported[0] is not None


async def test_worker_ended_collector_is_as_it_was(deployment: Deployment) -> None:
    """Frozen objects of a dead worker would stay for ever; fails with the plant ``frozen``."""
    thresholds = gc.get_threshold()
    async with local_worker(deployment) as worker:
        await worker.until(lambda: gc.get_freeze_count() > 0, "the collector is relaxed")
        assert gc.get_threshold() != thresholds
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds
