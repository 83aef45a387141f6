"""The Kafka side of the fan-out: a consumer in a thread, whose records arrive on the event loop in order."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from barnabas.topic_watch import TopicWatch
from topics.names import READERS_GROUP

logger = logging.getLogger(__name__)

_BATCH: Final = 1000

#: Batches on their way to the loop; a loop that is busy holds the thread back, and librdkafka its fetching.
_BATCHES_AHEAD: Final = 4

#: How long the thread waits for records before it looks for orders.
_POLL_S: Final = 0.02

_GONE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001 - public names

#: What is heard while a broker is away or a partition has no leader: the client comes back from these by itself.
_PASSING: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    }
)


class FeedRecord(NamedTuple):
    """One record of the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class FeedListener(Protocol):
    """Hears of records and failures, on the event loop."""

    def records(self, feed: Feed, records: list[FeedRecord]) -> None:
        """Take the next records, each partition's in order."""

    def out_of_range(self, feed: Feed, partition: int) -> None:
        """The partition's position is gone, or not there yet; it is read no further."""

    def failed(self, feed: Feed, error: Exception) -> None:
        """The client cannot go on."""


class Feed(Protocol):
    """Reads partitions of one topic from given offsets."""

    def read(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset``, wherever it stood before; records of the old position never follow."""

    def leave(self, partition: int) -> None:
        """Read it no more."""

    async def close(self) -> None:
        """End; nothing is heard of it afterwards."""


class KafkaFeed:
    """One consumer without a group; any number of partitions.

    Args:
        topic: What to read.
        client_config: librdkafka settings.
        listener: Hears of everything, on the loop that made this.
    """

    def __init__(self, topic: str, client_config: Mapping[str, Any], listener: FeedListener) -> None:
        self._topic = topic
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        #: Grows with each order for a partition, so that records read before it are known (loop and thread).
        self._orders: queue.SimpleQueue[tuple[int, int | None, int] | None] = queue.SimpleQueue()
        self._versions: dict[int, int] = {}
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._is_closed = False
        self._watch = TopicWatch(topic, client_config)
        self._consumer = Consumer(
            {
                "group.id": READERS_GROUP,  # required; assign() joins no group, and nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 5,
                "queued.max.messages.kbytes": 16_384,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 0,
                **client_config,
            }
        )
        self._thread = threading.Thread(target=self._run, name=f"barnabas-{topic}", daemon=True)
        self._thread.start()

    def read(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset``; see :class:`Feed`."""
        self._order(partition, offset)

    def leave(self, partition: int) -> None:
        """Read it no more."""
        self._order(partition, None)

    async def close(self) -> None:
        """End the thread and the consumer."""
        if self._is_closed:
            return
        self._is_closed = True
        self._orders.put(None)
        self._room.release()
        await self._loop.run_in_executor(None, self._thread.join)

    def _order(self, partition: int, offset: int | None) -> None:
        version = self._versions[partition] = self._versions.get(partition, 0) + 1
        self._orders.put((partition, offset, version))

    # -- Thread

    def _run(self) -> None:
        assigned: dict[int, int] = {}  # partition to version
        try:
            while self._obey(assigned):
                first = self._consumer.poll(_POLL_S)
                if first is not None:
                    self._hand_over([first, *self._consumer.consume(_BATCH, 0)], assigned)
                self._watch.check()
        except Exception as error:  # noqa: BLE001 -- whatever ends the thread is told to those who wait for it
            self._tell(self._listener.failed, self, error)
        finally:
            self._consumer.close()

    def _obey(self, assigned: dict[int, int]) -> bool:
        """Carry out what was ordered; False at the end. Waits where there is nothing to read."""
        while not self._orders.empty() or not assigned:
            order = self._orders.get()
            if order is None:
                return False
            if not assigned:
                self._watch.begin()  # nobody was told of another topic
            partition, offset, version = order
            if partition in assigned:
                self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
                del assigned[partition]
            if offset is not None:
                self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
                assigned[partition] = version
        return True

    def _hand_over(self, messages: list[Message], assigned: dict[int, int]) -> None:
        records: list[FeedRecord] = []
        for message in messages:
            error = message.error()
            partition, offset = message.partition(), message.offset()
            if error is None:
                if partition in assigned:
                    records.append(FeedRecord(partition, offset, message.key(), message.value()))
            elif error.code() in _GONE and partition in assigned:
                self._tell(self._out_of_range, partition, assigned[partition])
            elif error.fatal() or not (error.retriable() or error.code() in _PASSING):
                raise KafkaException(error)
            else:
                logger.debug("%s: %s", self._topic, error)
        if records:
            self._room.acquire()
            self._tell(self._arrived, records, dict(assigned))

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._is_closed:
            try:
                self._loop.call_soon_threadsafe(function, *arguments)
            except RuntimeError:  # the loop ended without closing us
                self._orders.put(None)

    # -- Loop

    def _arrived(self, records: list[FeedRecord], versions: dict[int, int]) -> None:
        self._room.release()
        if self._is_closed:
            return
        current = self._versions
        if any(current[partition] != version for partition, version in versions.items()):
            records = [record for record in records if current[record.partition] == versions[record.partition]]
        if records:
            self._listener.records(self, records)

    def _out_of_range(self, partition: int, version: int) -> None:
        if not self._is_closed and self._versions[partition] == version:
            self._listener.out_of_range(self, partition)
