"""Reads a topic by assignment, without a consumer group: nothing is committed, any number of readers do no harm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from barnabas.topic_watch import TopicWatch
from schemas.errors import BrokerError, TopicMismatchError
from topics.access import refusal
from topics.names import READERS_GROUP

_TIMEOUT_S = 15.0
_BATCH = 500
_POLL_S = 0.2


class Start(Enum):
    """Where reading begins."""

    BEGINNING = "beginning"  #: With the oldest record that is kept.
    END = "end"  #: With the first record that is written after the reader was made.


class ReadRecord(NamedTuple):
    """A record as it lies in the topic.

    Attributes:
        timestamp_ms: When it was written, Unix ms.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class TopicReader:
    """A reader of some of a topic's partitions; where it begins is settled before the constructor returns.

    Attributes:
        topic: Its name.
        count: How many partitions it has.
        partitions: Those it reads.
        ends: The end of each partition when the reader was made: the offset of the next record; no more than ``upto``.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        start: Start | Mapping[int, int] = Start.END,
        partitions: Sequence[int] | None = None,
        upto: Mapping[int, int] | None = None,
        expected_count: int | None = None,
        client_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Look the topic up and begin to read; blocks for some milliseconds.

        Args:
            bootstrap_servers: ``host:port[,host:port]``.
            topic: Its name.
            start: Where to begin, or an offset for each partition.
            partitions: Which to read; all unless given.
            upto: An offset before which each partition's reading ends, where that is before its end.
            expected_count: How many partitions the topic has to have.
            client_config: Further librdkafka settings.

        Raises:
            BrokerError: No broker answered, or there is no such topic.
            TopicMismatchError: The topic has another number of partitions than expected.
        """
        config = {"bootstrap.servers": bootstrap_servers, "log_level": 0, **(client_config or {})}
        self.topic = topic
        self._servers = bootstrap_servers
        self._watch = TopicWatch(topic, config)
        self._admin = AdminClient(config)
        self.count = self._count_partitions()
        if expected_count not in {None, self.count}:
            raise TopicMismatchError(
                f"partitions: {expected_count}, but {topic} has {self.count}; set it to that number"
            )
        self.partitions = tuple(range(self.count) if partitions is None else partitions)
        self.ends = {number: min(end, (upto or {}).get(number, end)) for number, end in self.current_ends().items()}
        self._at_end: set[int] = set()
        self._consumer = Consumer(
            {
                "group.id": READERS_GROUP,  # required; assign() joins no group, and nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                **config,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, self._begin(start, number)) for number in self.partitions])

    @property
    def is_at_end(self) -> bool:
        """Whether everything that was there when the reader was made has been read."""
        return len(self._at_end) == len(self.partitions)

    def current_ends(self) -> dict[int, int]:
        """Return the end of each partition now; raises :class:`BrokerError`."""
        return self._offsets(OffsetSpec.latest())

    def current_begins(self) -> dict[int, int]:
        """Return the offset of the oldest record kept of each partition; raises :class:`BrokerError`."""
        return self._offsets(OffsetSpec.earliest())

    def _offsets(self, spec: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(self.topic, number): spec for number in self.partitions}
        give_up = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                futures = self._admin.list_offsets(
                    wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
                )
                return {place.partition: future.result().offset for place, future in futures.items()}
            except KafkaException as error:
                if error.args[0].code() not in _LEADERLESS or time.monotonic() > give_up:
                    raise self._unreachable(error) from error
            time.sleep(_POLL_S)

    def poll(self, timeout_s: float = _POLL_S) -> list[ReadRecord]:
        """Return the next records, in the order of each partition; none after ``timeout_s``.

        Raises:
            BrokerError: The client cannot go on.
        """
        first = self._consumer.poll(timeout_s)
        messages = [first, *self._consumer.consume(_BATCH, 0)] if first is not None else []
        return [record for message in messages if (record := self._read(message)) is not None]

    def until_end(self) -> Iterator[ReadRecord]:
        """Yield what was there when the reader was made; raises as :meth:`poll`."""
        while not self.is_at_end:
            for record in self.poll():
                if record.offset < self.ends[record.partition]:
                    yield record

    def forever(self, timeout_s: float | None = None) -> Iterator[ReadRecord]:
        """Yield what is there and what comes, for ``timeout_s`` seconds or without end.

        Raises:
            BrokerError: The client cannot go on.
            TopicGoneError: The topic was deleted, or made anew.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while deadline is None or time.monotonic() < deadline:
            yield from self.poll()
            self._watch.check()

    def close(self) -> None:
        """End reading."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, start: Start | Mapping[int, int], number: int) -> int:
        if isinstance(start, Mapping):
            return start.get(number, OFFSET_BEGINNING)
        return OFFSET_BEGINNING if start is Start.BEGINNING else self.ends[number]

    def _count_partitions(self) -> int:
        try:
            found = self._admin.list_topics(self.topic, timeout=_TIMEOUT_S).topics.get(self.topic)
        except KafkaException as error:
            raise self._unreachable(error) from error
        if found is None or found.error is not None or not found.partitions:
            raise BrokerError(
                f"there is no topic {self.topic} at {self._servers}; start a worker, which makes it, or check prefix"
            )
        return len(found.partitions)

    def _read(self, message: Message) -> ReadRecord | None:
        error = message.error()
        partition, offset = message.partition(), message.offset()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF and partition is not None:  # noqa: SLF001 - its public name
                self._at_end.add(partition)
            elif error.fatal() or (not error.retriable() and error.code() not in _PASSING):
                raise self._unreachable(KafkaException(error))
            return None
        if partition is None or offset is None:
            return None
        if offset + 1 >= self.ends[partition]:
            self._at_end.add(partition)
        return ReadRecord(partition, offset, message.timestamp()[1], message.key(), message.value())

    def _unreachable(self, error: KafkaException) -> BrokerError:
        why = error.args[0].str()
        if (refused := refusal(error.args[0], self._servers)) is not None:
            return refused
        return BrokerError(f"Kafka at {self._servers} failed or did not answer ({why}); is it running?")


#: Said of a topic that was just made, or by a broker that was just started.
_LEADERLESS = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

#: The client comes back from these by itself.
_PASSING = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001
