"""A publisher of records that librdkafka does not let through: header names of any bytes."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaError

from tests.support.raw_batches import RawRecord, produce_batch

_RETRY_S: Final = 0.5
_POLL_S: Final = 0.05


class RawClient:
    """Publishes from a thread of its own, again and again until the broker confirms."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._bootstrap_servers, self._topic = bootstrap_servers, topic
        self._due: queue.Queue[tuple[int, RawRecord, Callable[[int], None]]] = queue.Queue()
        self._thread: threading.Thread | None = None

    def send(self, partition: int, record: RawRecord, on_confirmed: Callable[[int], None]) -> None:
        """Publish a record soon; ``on_confirmed`` gets its offset."""
        self._due.put((partition, record, on_confirmed))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def flush(self, timeout_s: float) -> int:
        """Wait for confirmations; returns how many are still due."""
        deadline = time.monotonic() + timeout_s
        while self._due.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self._due.unfinished_tasks

    def _run(self) -> None:
        while True:
            partition, record, on_confirmed = self._due.get()
            while (offset := self._publish(partition, record)) is None:
                time.sleep(_RETRY_S)
            on_confirmed(offset)
            self._due.task_done()

    def _publish(self, partition: int, record: RawRecord) -> int | None:
        try:
            (offset,) = asyncio.run(produce_batch(self._bootstrap_servers, self._topic, partition, [record]))
        except (KafkaError, OSError):
            return None  # it may be in the topic all the same: once more does no harm
        return offset
