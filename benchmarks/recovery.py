"""Sessions per second of recovery from an empty directory, of the fold, and of the audit.

Run: ``python -m benchmarks.recovery --sessions 50000 --bytes 2048``. One broker, one process, this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from confluent_kafka import Producer
from faust import App

from infra.broker import Broker
from schemas.attempt import Attempt
from schemas.events import PartitionOpened, TurnCompleted, TurnStarted
from schemas.ids import event_id_for, turn_id_for
from schemas.serdes import Codec
from schemas.session import Session
from state.audit import audit
from state.changelog import ChangelogReader
from state.options import StoreOptions
from state.partition_fold import PartitionFold
from state.recovery import Recovery
from state.table import SESSIONS, SessionTable
from state.value import PARTITION_KEY, ValueCodec
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

CODEC = Codec()
VALUES = ValueCodec(CODEC)


class Log:
    """Writes one turn a session, with an answer of a given length, into log and changelog."""

    def __init__(self, servers: str, names: TopicNames, partitions: int) -> None:
        self._names = names
        self._partitions = partitions
        self._producer = Producer(
            {"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
        )
        self._folds = [PartitionFold(VALUES_EMPTY(number)) for number in range(partitions)]
        self._ends = [0] * partitions
        self.folded = 0
        self.fold_s = 0.0

    def write(self, sessions: int, size: int) -> None:
        """Write it all."""
        for number in range(self._partitions):
            event = PartitionOpened(event_id=f"o{number}", owner="bench", generation=1, occurred_at=1)
            self._folds[number].open(event, offset=self._append(number, None, event))
            self._change(number, PARTITION_KEY, VALUES.encode(self._folds[number].state))
        for index in range(sessions):
            self._turn(f"session-{index:08d}", "x" * size)
        self._producer.flush()

    def _turn(self, session_id: str, text: str) -> None:
        key = session_id.encode()
        number = partition_for(key, self._partitions)
        turn_id, attempt = turn_id_for(session_id, "m"), Attempt(0, 0)
        envelope = {"session_id": session_id, "turn_id": turn_id, "message_id": "m", "attempt": attempt}
        placed = {**envelope, "source_offset": self._ends[number], "occurred_at": 1}
        start = TurnStarted(
            event_id=event_id_for(turn_id, attempt, "start"), text="hello", agent="a", model="echo", **placed
        )
        end = TurnCompleted(
            event_id=event_id_for(turn_id, attempt, "outcome"), text=text, deltas=1, decided_upto=0, **placed
        )
        session = Session(session_id=session_id)
        for event in (start, end):
            offset = self._append(number, key, event)
            began = time.perf_counter()
            session, _ = self._folds[number].apply(session, event, offset=offset)
            self.fold_s += time.perf_counter() - began
            self.folded += 1
        self._change(number, key, VALUES.encode(session))

    def _append(self, partition: int, key: bytes | None, event: PartitionOpened | TurnStarted | TurnCompleted) -> int:
        self._produce(self._names.events, partition, key, CODEC.encode(event))
        self._ends[partition] += 1
        return self._ends[partition] - 1

    def _change(self, partition: int, key: bytes, value: bytes) -> None:
        self._produce(self._names.changelog, partition, key, value)

    def _produce(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
                return
            except BufferError:
                self._producer.poll(0.1)


def VALUES_EMPTY(partition: int) -> PartitionState:  # noqa: N802
    return PartitionState(partition=partition)
