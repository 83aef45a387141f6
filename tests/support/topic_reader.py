"""Reads topics from their beginning, by assignment, with nothing of ours but the records' bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from schemas.headers import headers_of
from tests.support.waiting import DEADLINE_S


class Read(NamedTuple):
    """One record as it lies in Kafka."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


class TopicReader:
    """Keeps everything a topic holds, and reads on when asked."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self.topic = topic
        self.partitions = partitions
        self.records: list[Read] = []
        self._ends: dict[int, int] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "tests-reader",  # required, never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])

    def poll(self, timeout_s: float = 0.1) -> list[Read]:
        """Read what has come, waiting at most ``timeout_s`` for the first record."""
        found: list[Read] = []
        for message in self._consumer.consume(5000, timeout_s):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._ends[message.partition()] = message.offset()
                continue
            self._ends.pop(message.partition(), None)
            _, timestamp = message.timestamp()
            found.append(
                Read(
                    message.partition(),
                    message.offset(),
                    message.key(),
                    message.value(),
                    list(headers_of(message)),
                    timestamp,
                )
            )
        self.records += found
        return found

    def read_until(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Read on until ``is_done()``; False when the time is up."""
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if time.monotonic() > deadline:
                return False
            self.poll()
        return True

    def read_to_end(self, timeout_s: float = DEADLINE_S) -> list[Read]:
        """Read up to what the topic holds now; returns all records, in offset order within a partition."""
        ends = {}
        for partition in range(self.partitions):
            _, ends[partition] = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition), timeout=DEADLINE_S
            )

        def at_end() -> bool:
            positions = self._consumer.position([TopicPartition(self.topic, p) for p in ends])
            at = {p.partition: max(p.offset, self._ends.get(p.partition, -1)) for p in positions}
            return all(at[p] >= end or end == 0 for p, end in ends.items())

        if not self.read_until(at_end, timeout_s):
            raise AssertionError(f"{self.topic} was not read to its end within {timeout_s:g} s")
        return self.records

    def close(self) -> None:
        """Release the consumer."""
        self._consumer.close()
