"""Reads the event log: ranges, single records far apart, and what comes. Blocking; for one thread at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from barnabas.bounds import Bounds
from barnabas.reader import ReadRecord
from barnabas.topic_watch import TopicWatch
from schemas.errors import AccessError, BrokerError, ClientError
from topics.access import GRANT, is_denied
from topics.names import READERS_GROUP

_REQUEST_S: Final = 15.0

#: ... of which one try takes this long: who stops the reading waits for it.
_ATTEMPT_S: Final = 3.0

_BATCH: Final = 5000

#: ``consume`` waits this long for a full batch; the last one of a range never is.
_POLL_S: Final = 0.02

#: Longest time without a record where one is due: a broker may be starting again.
_STALL_S: Final = 60.0

#: Records between two wanted ones that are read and dropped rather than jumped over: a jump takes as long as reading
#: some 1,300 small ones (about 2 ms, and 800,000/s, on two cores).
_NEAR: Final = 1000

#: Consumers that jump at the same time: while one's records are taken, the others' are on their way.
_JUMPERS: Final = 4

#: A jump wants a few records and nothing ahead of them: what a connection has asked for has to come before the next.
_JUMPER: Final = {
    "max.partition.fetch.bytes": 32 * 1024,  # a larger record comes alone
    "queued.min.messages": 1,
    "fetch.queue.backoff.ms": 1,  # 0 spins
}


class EventLog:
    """The ``events`` topic.

    Args:
        topic: Its name.
        client_config: librdkafka settings.
    """

    def __init__(self, topic: str, client_config: Mapping[str, Any]) -> None:
        self.topic = topic
        self._config = dict(client_config)
        self._scanner: Consumer | None = None
        self._fetchers: dict[int, Consumer] = {}
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """Let a reading in another thread end at its next batch, with :class:`ClientError`."""
        self._is_stopped.set()

    def identity(self) -> str:
        """Return the topic's id: another one where it was deleted and made anew.

        Raises:
            BrokerError: No broker answered.
        """
        admin = AdminClient(self._config)  # kept in a name: the answer comes only while it lives
        try:
            found = admin.describe_topics(TopicCollection([self.topic]), request_timeout=_REQUEST_S)
            return str(found[self.topic].result().topic_id)
        except KafkaException as error:
            raise self._failed(error) from error

    def bounds(self, partition: int) -> Bounds:
        """Return where a partition begins and ends; raises :class:`BrokerError`."""
        give_up = time.monotonic() + _REQUEST_S
        while True:
            self._check_open()
            try:
                place = TopicPartition(self.topic, partition)
                return Bounds(*self._scan().get_watermark_offsets(place, timeout=_ATTEMPT_S, cached=False))
            except KafkaException as error:  # a broker that was just started has no leaders yet
                if is_denied(error.args[0]) or time.monotonic() > give_up:
                    raise self._failed(error) from error
            time.sleep(_POLL_S)

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Return the offset of the first record at or behind a time, the partition's end where there is none.

        Raises:
            BrokerError: No broker answered.
        """
        try:
            (found,) = self._scan().offsets_for_times(
                [TopicPartition(self.topic, partition, max(0, time_ms))], timeout=_REQUEST_S
            )
        except KafkaException as error:
            raise self._failed(error) from error
        offset: int = found.offset
        return offset if offset >= 0 else self.bounds(partition).end

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """Yield the records from ``first`` to ``end`` (excluded), in batches; holes are skipped.

        Raises:
            BrokerError: Nothing came for a long time, or the client failed.
        """
        return self._read(self._scan(), partition, first, end)

    def fetch(self, partition: int, offsets: Sequence[int]) -> Iterator[Message]:
        """Yield the records at these offsets, ascending; raises as :meth:`read`."""
        runs = _runs(offsets)
        ahead: deque[tuple[int, list[int]]] = deque()
        idle = {False: list(range(_JUMPERS, 0, -1)), True: [0]}  # numbers of consumers, by whether they read through
        due = next(runs, None)
        try:
            while due is not None or ahead:
                while due is not None and idle[_is_wide(due)]:
                    number = idle[_is_wide(due)].pop()
                    self._fetcher(number).assign([TopicPartition(self.topic, partition, due[0])])
                    ahead.append((number, due))
                    due = next(runs, None)
                number, run = ahead[0]
                wanted, fetcher = set(run), self._fetcher(number)
                for batch in self._received(fetcher, partition, run[0], run[-1] + 1):
                    yield from (message for message in batch if message.offset() in wanted)
                fetcher.unassign()
                ahead.popleft()
                idle[_is_wide(run)].append(number)
        finally:
            for number, _ in ahead:
                self._fetcher(number).unassign()

    def follow(self, partition: int, first: int) -> Iterator[list[Message]]:
        """Yield what comes from ``first`` on, without end; an empty list while nothing comes.

        Raises:
            TopicGoneError: The topic was deleted, or made anew.
            BrokerError: The client failed.
        """
        consumer, watch = self._scan(), TopicWatch(self.topic, self._config)
        consumer.assign([TopicPartition(self.topic, partition, first)])
        while True:
            head = consumer.poll(_POLL_S * 5)
            messages = [head, *consumer.consume(_BATCH, 0)] if head is not None else []
            self._check_open()
            watch.check()
            yield [message for message in messages if self._is_record(message)]

    def close(self) -> None:
        """Release the connections."""
        for consumer in (self._scanner, *self._fetchers.values()):
            if consumer is not None:
                consumer.close()
        self._scanner = None
        self._fetchers.clear()

    def _scan(self) -> Consumer:
        if self._scanner is None:
            self._scanner = self._consumer()
        return self._scanner

    def _fetcher(self, number: int) -> Consumer:
        """Return one of those that fetch: 0 reads through, the others jump."""
        if number not in self._fetchers:
            self._fetchers[number] = self._consumer(**(_JUMPER if number else {}))
        return self._fetchers[number]

    def _consumer(self, **more: Any) -> Consumer:
        return Consumer(
            {
                "group.id": READERS_GROUP,  # required; assign() joins no group, and nothing is committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 1000,
                **more,
                **self._config,
            }
        )

    def _read(self, consumer: Consumer, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        if first >= end:
            return
        consumer.assign([TopicPartition(self.topic, partition, first)])
        try:
            yield from self._received(consumer, partition, first, end)
        finally:
            consumer.unassign()

    def _received(self, consumer: Consumer, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """Yield what comes to a consumer that was assigned ``first``."""
        position, moved_at = first, time.monotonic()
        while position < end:
            self._check_open()
            messages = consumer.consume(min(_BATCH, end - position), _POLL_S)
            batch = [message for message in messages if self._is_record(message) and message.offset() < end]
            if batch:
                position, moved_at = batch[-1].offset() + 1, time.monotonic()
                yield batch
            elif time.monotonic() - moved_at > _STALL_S:
                raise BrokerError(
                    f"{self.topic}-{partition}: nothing came for {_STALL_S:g} s at offset {position} of {end}; "
                    "is Kafka running?"
                )
            if len(batch) < len(messages) and any(_is_end(message, end) for message in messages):
                return  # the last offsets hold no record

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        reset = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - its public name
        if error.fatal() or is_denied(error) or error.code() == reset:
            raise self._failed(KafkaException(error))
        return False

    def _check_open(self) -> None:
        if self._is_stopped.is_set():
            raise ClientError("the client was closed while the log was being read")

    def _failed(self, error: KafkaException) -> BrokerError:
        if is_denied(error.args[0]):
            return AccessError(f"{self.topic} may not be read ({error.args[0].str()}); {GRANT}")
        return BrokerError(f"{self.topic} cannot be read ({error.args[0].str()}); is Kafka running?")


def read_record(message: Message) -> ReadRecord:
    """Return a message as a record."""
    return ReadRecord(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value())


def _is_end(message: Message, end: int) -> bool:
    """Whether nothing more comes before ``end``: a replica that lags says so of its own, earlier end."""
    error, offset = message.error(), message.offset()
    return error is not None and error.code() == KafkaError._PARTITION_EOF and offset is not None and offset >= end  # noqa: SLF001


def _is_wide(run: Sequence[int]) -> bool:
    """Whether it takes more than a jump's fetch or two."""
    return run[-1] - run[0] > _NEAR


def _runs(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Group ascending offsets that are near each other."""
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > _NEAR:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
