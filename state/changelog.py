"""Reading the changelog between two offsets, for recovery, repair and the audit; no consumer group involved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import AccessError, RecoveryError
from state.store import ChangelogRecord
from topics.access import GRANT, is_denied
from topics.names import READERS_GROUP

#: Records handed over at once; at 2 KB each about 10 MB.
BATCH: Final = 5000

#: ``consume`` waits this long for a full batch; the last one never is.
_POLL_S: Final = 0.05
_ASK_AGAIN_S: Final = 0.05

#: For a client that lives for a moment: its end is worth no line of the log (syslog's levels).
_LOG_WARNINGS: Final = 4

#: Beyond its request's time-out an answer is waited for no longer than this.
_GRACE_S: Final = 1.0

#: Beyond every offset.
_NO_END: Final = 2**63 - 1

#: What a broker, or librdkafka for it, says while a partition has no leader.
_PASSING_ERRORS: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
    }
)


class ChangelogUnreadableError(RecoveryError):
    """The client failed; the local store is not to blame and is kept."""


class ChangelogReader:
    """Reads partitions of one topic. Blocking: call it from a thread.

    Faust's own recovery goes through the stream's consumer event by event, hangs on emptied or compacted
    partitions (hazard F17) and can die without a sign (F10); this one knows the end from the broker.
    """

    def __init__(self, topic: str, client_config: Mapping[str, object]) -> None:
        self._topic = topic
        self._client_config = dict(client_config)
        #: The last that was heard of the broker is that it is away.
        self._is_broker_away = False
        self._config: dict[str, object] = {
            **client_config,
            "group.id": READERS_GROUP,  # required by librdkafka, never joined: partitions are assigned by hand
            "error_cb": self._client_error,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
            "fetch.wait.max.ms": 10,  # a partition at its end answers, empty, only after this long
            "queued.max.messages.kbytes": 65536,
        }

    def _refused(self, error: KafkaException) -> AccessError:
        return AccessError(f"{self._topic} may not be read ({error.args[0].str()}); {GRANT}")

    def _client_error(self, error: KafkaError) -> None:
        self._is_broker_away = error.code() in _PASSING_ERRORS

    def highwaters(self, partitions: list[int], *, timeout_s: float = 30.0) -> dict[int, tuple[int, int]]:
        """Return ``(earliest, end)`` of each partition; ``end`` is the next offset to be written.

        One request for all partitions and either end, where a consumer asks for each by itself (12 ms a partition).

        Raises:
            AccessError: Kafka does not let this user see the topic.
            ChangelogUnreadableError: The broker did not answer within ``timeout_s``.
        """
        give_up = time.monotonic() + timeout_s
        admin = AdminClient({**self._client_config, "log_level": _LOG_WARNINGS})
        while True:
            try:
                earliest = self._offsets(admin, partitions, OffsetSpec.earliest(), give_up)
                ends = self._offsets(admin, partitions, OffsetSpec.latest(), give_up)
            except (KafkaException, TimeoutError) as exc:
                if isinstance(exc, KafkaException) and is_denied(exc.args[0]):
                    raise self._refused(exc) from exc
                # A topic just made, or a broker just started, has no leader yet.
                is_passing = isinstance(exc, KafkaException) and exc.args[0].code() in _PASSING_ERRORS
                if not is_passing or time.monotonic() > give_up:
                    msg = f"{self._topic}: the broker does not say where it ends: {exc!r}"
                    raise ChangelogUnreadableError(msg) from exc
                time.sleep(_ASK_AGAIN_S)
            else:
                return {partition: (earliest[partition], ends[partition]) for partition in partitions}

    def _offsets(self, admin: AdminClient, partitions: list[int], spec: OffsetSpec, give_up: float) -> dict[int, int]:
        wanted = {TopicPartition(self._topic, partition): spec for partition in partitions}
        timeout_s = max(give_up - time.monotonic(), _POLL_S)
        asked = admin.list_offsets(wanted, request_timeout=timeout_s)
        return {tp.partition: future.result(timeout_s + _GRACE_S).offset for tp, future in asked.items()}

    def read(
        self, ranges: Mapping[int, tuple[int, int]], *, deadline_s: float, stop: Event | None = None
    ) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
        """Yield ``(partition, records, next_offset)`` until every partition reached its range's end.

        Args:
            ranges: ``{partition: (first, end)}``, ``end`` excluded; offsets that compaction took are skipped.
            deadline_s: Longest time without having come to the end, in seconds.
            stop: Set by another thread to end early.

        Raises:
            AccessError: Kafka does not let this user read the topic.
            ChangelogUnreadableError: The client failed for good, or the deadline passed with the broker away.
            RecoveryError: The deadline passed with the broker there.
        """
        left = {partition: end for partition, (first, end) in ranges.items() if first < end}
        if not left:
            return
        give_up = time.monotonic() + deadline_s
        with self._consumer({partition: ranges[partition][0] for partition in left}) as consumer:
            while left and not (stop is not None and stop.is_set()):
                if time.monotonic() > give_up:
                    msg = f"{self._topic}: {len(left)} partitions were not read within {deadline_s:g} s"
                    raise (ChangelogUnreadableError if self._is_broker_away else RecoveryError)(msg)
                messages = consumer.consume(BATCH, _POLL_S)
                if messages:
                    self._is_broker_away = False
                yield from _by_partition(messages, left)

    def tail(self, first: Mapping[int, int], stop: Event) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
        """Yield ``(partition, records, end)`` from ``first`` on, until ``stop`` is set.

        ``end`` is what the broker last said it to be. A broker that is away is waited for.

        Raises:
            AccessError: Kafka does not let this user read the topic.
            ChangelogUnreadableError: The client failed for good.
        """
        with self._consumer(first) as consumer:
            while not stop.is_set():
                everything = dict.fromkeys(first, _NO_END)
                for partition, records, _ in _by_partition(consumer.consume(BATCH, _POLL_S), everything):
                    if records:
                        _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
                        yield partition, records, end

    @contextmanager
    def _consumer(self, first: Mapping[int, int]) -> Iterator[Consumer]:
        """Give a consumer of partitions from these offsets on, and say what its errors mean."""
        consumer = Consumer(self._config)
        try:
            # Offsets, never "beginning": that is asked for, and librdkafka asks again only after 500 ms where it does
            # not know the leader yet. An offset that is gone begins at the earliest one (auto.offset.reset).
            consumer.assign([TopicPartition(self._topic, partition, offset) for partition, offset in first.items()])
            yield consumer
        except KafkaException as exc:
            if is_denied(exc.args[0]):
                raise self._refused(exc) from exc
            raise ChangelogUnreadableError(f"{self._topic}: not readable: {exc}") from exc
        finally:
            consumer.close()


def _by_partition(messages: list[object], left: dict[int, int]) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
    batches: dict[int, list[ChangelogRecord]] = {}
    done: set[int] = set()
    for message in messages:
        partition: int = message.partition()  # type: ignore[attr-defined]
        error = message.error()  # type: ignore[attr-defined]
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                done.add(partition)
            elif is_denied(error) or (not error.retriable() and error.fatal()):
                raise KafkaException(error)
            continue
        if partition not in left:
            continue
        offset: int = message.offset()  # type: ignore[attr-defined]
        if offset >= left[partition]:
            done.add(partition)
            continue
        batches.setdefault(partition, []).append(
            ChangelogRecord(offset, message.key(), message.value())  # type: ignore[attr-defined]
        )
        if offset == left[partition] - 1:
            done.add(partition)
    for partition in batches.keys() | (done & left.keys()):
        records = batches.get(partition, [])
        reached_end = partition in done
        yield partition, records, left[partition] if reached_end else records[-1].offset + 1
    for partition in done:
        left.pop(partition, None)
