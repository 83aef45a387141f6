"""A publisher of records that librdkafka does not let through: header names of any bytes."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaError

from tests.chaos.patience import Patience
from tests.support.raw_batches import RawRecord, produce_batch

_RETRY_S: Final = 0.5

#: aiokafka asks for a broker that is gone thousands of times a second, and would go on for 40 s.
_FIRST_TRY_S: Final = 5.0
_LONGEST_TRY_S: Final = 80.0
_POLL_S: Final = 0.05


class RawClient:
    """Publishes from a thread of its own, again and again until the broker confirms."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._bootstrap_servers, self._topic = bootstrap_servers, topic
        self._due: queue.Queue[tuple[int, RawRecord, Callable[[int], None]]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._try_s = _FIRST_TRY_S

    def send(self, partition: int, record: RawRecord, on_confirmed: Callable[[int], None]) -> None:
        """Publish a record soon; ``on_confirmed`` gets its offset."""
        self._due.put((partition, record, on_confirmed))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def flush(self, patience_s: float) -> int:
        """Wait for confirmations; returns how many are due when none came for ``patience_s`` seconds."""
        patience = Patience(patience_s)
        while (due := self._due.unfinished_tasks) and not patience.is_over(due):
            time.sleep(_POLL_S)
        return due

    def _run(self) -> None:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # ... and says so each time
        while True:
            partition, record, on_confirmed = self._due.get()
            while (offset := self._publish(partition, record)) is None:
                time.sleep(_RETRY_S)
            on_confirmed(offset)
            self._due.task_done()

    def _publish(self, partition: int, record: RawRecord) -> int | None:
        publish = produce_batch(self._bootstrap_servers, self._topic, partition, [record])
        try:
            (offset,) = asyncio.run(asyncio.wait_for(publish, self._try_s))
        except TimeoutError:
            self._try_s = min(_LONGEST_TRY_S, 2 * self._try_s)
            return None
        except (KafkaError, OSError):
            return None  # it may be in the topic all the same: once more does no harm
        return offset
