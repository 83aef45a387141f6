"""Samples during a run what the group has committed, and only then where the topics end."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from topics.names import TopicNames

_EVERY_S: Final = 0.5
_TIMEOUT_S: Final = 2.0

#: A topic and a partition of it.
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was committed at a moment, and the topics' ends a moment **later**.

    What is below a committed offset was done before it was committed, so the proof of it lies below these ends.

    Attributes:
        at: Unix time.
        committed: Committed offsets, where there are any.
        ends: Offsets of the next records.
    """

    at: float
    committed: Mapping[Place, int]
    ends: Mapping[Place, int]


class Sampler:
    """Takes samples from a thread of its own; while the broker is away there are none."""

    def __init__(self, bootstrap_servers: str, names: TopicNames, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": names.group_id,  # asked about, never joined
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )
        numbers = range(partitions)
        self._consumed = [(topic, p) for topic in (names.messages, names.control, names.events) for p in numbers]
        self._all = [(topic, p) for topic in names.all for p in numbers]
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(60.0)
        self._consumer.close()

    def sample(self) -> Sample:
        """Take one; raises ``KafkaException`` without a broker."""
        places = [TopicPartition(*place) for place in self._consumed]
        committed = self._consumer.committed(places, timeout=_TIMEOUT_S)
        ends = {place: self._end(place) for place in self._all}
        return Sample(time.time(), {(tp.topic, tp.partition): tp.offset for tp in committed if tp.offset >= 0}, ends)

    def lag(self) -> dict[str, int]:
        """Say of which partitions not all is committed yet, and how many records are missing; as ``sample``."""
        now = self.sample()
        missing = {place: now.ends[place] - now.committed.get(place, 0) for place in self._consumed}
        return {
            f"{topic}-{partition}: {now.committed.get((topic, partition), 0)} of {now.ends[topic, partition]}": records
            for (topic, partition), records in missing.items()
            if records
        }

    def _end(self, place: Place) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_TIMEOUT_S)
        return int(end)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.samples.append(self.sample())
            except KafkaException:
                continue
