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
from typing import Any

import faust
from confluent_kafka import Producer

from infra.broker import Broker
from schemas.attempt import Attempt
from schemas.events import PartitionOpened, TurnCompleted, TurnStarted
from schemas.ids import event_id_for, turn_id_for
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.audit import audit
from state.changelog import ChangelogReader
from state.options import StoreOptions
from state.partition_fold import PartitionFold
from state.recovery import Recovery
from state.store import SessionStore
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
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,  # the epochs are offsets: a batch sent again must not change places
                "linger.ms": 20,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._folds = [PartitionFold(PartitionState(partition=number)) for number in range(partitions)]
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
        placed: dict[str, Any] = {
            "session_id": session_id,
            "turn_id": turn_id,
            "message_id": "m",
            "attempt": attempt,
            "source_offset": self._ends[number],
            "occurred_at": 1,
        }
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


def make_store(folder: Path, names: TopicNames, partitions: int) -> SessionStore:
    """A worker's store, as the app factory makes it."""
    app = faust.App(names.app_id, datadir=str(folder), store="rocksdb://", Table=SessionTable, autodiscover=False)
    options = {"store_options": StoreOptions()}
    table = app.Table(SESSIONS, partitions=partitions, key_type=bytes, value_type=bytes, options=options)
    store: SessionStore = table.store
    return store


def measure(servers: str, *, sessions: int, size: int, partitions: int, folder: Path) -> dict[str, float]:
    """Write, recover from an empty directory, recover again from the position, audit."""
    names = TopicNames("bench-recovery")
    ensure_topics(servers, catalog(names, partitions=partitions))
    log = Log(servers, names, partitions)
    log.write(sessions, size)
    owned = set(range(partitions))

    def recover() -> float:
        store = make_store(folder / "workers" / "worker-1", names, partitions)
        reader = ChangelogReader(names.changelog, {"bootstrap.servers": servers})
        began = time.perf_counter()
        asyncio.run(Recovery(store, reader, deadline_s=600).run(owned, owned))
        seconds = time.perf_counter() - began
        asyncio.run(store.stop())
        return seconds

    empty_s, again_s = recover(), recover()
    report = audit(servers, names, data_dir=folder)
    return {
        "sessions": sessions,
        "value_bytes": size,
        "partitions": partitions,
        "recovery_s": round(empty_s, 3),
        "recovery_sessions_per_s": round(sessions / empty_s),
        "recovery_from_position_s": round(again_s, 3),
        "fold_events_per_s": round(log.folded / log.fold_s),
        "audit_s": round(report.seconds, 3),
        "audit_events_per_s": round(report.events / report.seconds),
        "audit_findings": sum(report.counts.values()),
    }


def main() -> None:
    """Run it and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=2048, help="length of the remembered answer")
    parser.add_argument("--partitions", type=int, default=16)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "broker", stops_with_parent=True)
        try:
            figures = measure(
                broker.start().bootstrap_servers,
                sessions=asked.sessions,
                size=asked.bytes,
                partitions=asked.partitions,
                folder=Path(folder) / "data",
            )
        finally:
            broker.stop()
    print(json.dumps({**figures, "cpus": os.cpu_count(), "python": platform.python_version()}))


if __name__ == "__main__":
    main()
