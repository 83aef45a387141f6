"""Reading the changelog between two offsets, for recovery, repair and the audit; no consumer group involved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from threading import Event
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import RecoveryError
from state.store import ChangelogRecord

#: Records handed over at once; at 2 KB each about 10 MB.
BATCH: Final = 5000

#: ``consume`` waits this long for a full batch; the last one never is.
_POLL_S: Final = 0.05
_ASK_AGAIN_S: Final = 0.05

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
        self._config: dict[str, object] = {
            **client_config,
            "group.id": "barnabas-reader",  # required by librdkafka, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 65536,
        }

    def highwaters(self, partitions: list[int], *, timeout_s: float = 30.0) -> dict[int, tuple[int, int]]:
        """Return ``(earliest, end)`` of each partition; ``end`` is the next offset to be written.

        Raises:
            RecoveryError: The broker did not answer within ``timeout_s``.
        """
        consumer = Consumer(self._config)
        try:
            give_up = time.monotonic() + timeout_s
            return {partition: self._watermarks(consumer, partition, give_up) for partition in partitions}
        except KafkaException as exc:
            raise RecoveryError(f"{self._topic}: the broker did not tell where it ends: {exc}") from exc
        finally:
            consumer.close()

    def _watermarks(self, consumer: Consumer, partition: int, give_up: float) -> tuple[int, int]:
        """Ask until the partition's leader answers: a topic just made, or a broker just started, has none yet."""
        while True:
            left_s = give_up - time.monotonic()
            try:
                offsets: tuple[int, int] = consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), timeout=max(left_s, _POLL_S)
                )
                return offsets
            except KafkaException as exc:
                if left_s < 0 or exc.args[0].code() not in _PASSING_ERRORS:
                    raise
            consumer.poll(_ASK_AGAIN_S)

    def read(
        self, ranges: Mapping[int, tuple[int, int]], *, deadline_s: float, stop: Event | None = None
    ) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
        """Yield ``(partition, records, next_offset)`` until every partition reached its range's end.

        Args:
            ranges: ``{partition: (first, end)}``, ``end`` excluded; offsets that compaction took are skipped.
            deadline_s: Longest time without having come to the end, in seconds.
            stop: Set by another thread to end early.

        Raises:
            RecoveryError: The deadline passed, or the client failed for good.
        """
        left = {partition: end for partition, (first, end) in ranges.items() if first < end}
        if not left:
            return
        consumer = Consumer(self._config)
        give_up = time.monotonic() + deadline_s
        try:
            consumer.assign(
                [TopicPartition(self._topic, p, ranges[p][0] if ranges[p][0] > 0 else OFFSET_BEGINNING) for p in left]
            )
            while left and not (stop is not None and stop.is_set()):
                if time.monotonic() > give_up:
                    msg = f"{self._topic}: {len(left)} partitions were not read within {deadline_s:g} s"
                    raise RecoveryError(msg)
                yield from _by_partition(consumer.consume(BATCH, _POLL_S), left)
        except KafkaException as exc:
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
            elif not error.retriable() and error.fatal():
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
