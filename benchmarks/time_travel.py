"""How long it takes to see a session as it was, by the length of the log, beside a reading without an index.

Run: ``python -m benchmarks.time_travel --events 10000000 --steps 1 --repeats 5``. One broker, one process, this
machine. The log grows in steps; in each, three sessions whose turns are spread over all of it are looked at. ``cold``
reads their partition once, for the index. ``warm`` has the index, but was never asked for the session: each repeat
opens the history anew, as a command does, and has forgotten the session's snapshots. ``again`` has these, too, and asks
for the end and the middle in turn. ``scan`` folds the session by reading its partition from the beginning. Median and
worst, in ms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from confluent_kafka import Producer

from barnabas.connection import Connection
from barnabas.history.history import History
from barnabas.history.judge import Judge
from barnabas.history.moment import Moment
from infra.broker import Broker
from infra.ports import free_port
from schemas.attempt import Attempt
from schemas.events import LogEvent, PartitionOpened, TurnCompleted, TurnStarted
from schemas.serdes import Codec
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

CODEC = Codec()
NAMES = TopicNames("bench-time")

#: Turns of the sessions that are looked at: a short talk, a long one, a very long one.
LOOKED_AT = {"short": 10, "long": 200, "very-long": 2000}

#: Cold looks of each: they take seconds.
_COLD = 3


class Log:
    """Writes many sessions' records, and the turns of those that are looked at in between."""

    def __init__(self, servers: str, partitions: int, sessions: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "linger.ms": 50,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._partitions, self._sessions = partitions, sessions
        self.written = 0
        self._turns = dict.fromkeys(LOOKED_AT, 0)
        for number in range(partitions):
            opened = PartitionOpened(event_id=f"o{number}", owner="bench", generation=1, occurred_at=1)
            self._produce(number, None, CODEC.encode(opened))
        self._filler = CODEC.encode(next(iter(_turn("filler", 0))))

    def grow(self, events: int, total: int) -> None:
        """Write up to ``events`` of ``total``."""
        keys = [f"session-{number:07d}".encode() for number in range(self._sessions)]
        places = [partition_for(key, self._partitions) for key in keys]
        due = {name: total // turns for name, turns in LOOKED_AT.items()}
        while self.written < events:
            for name, turns in self._turns.items():
                if self.written >= turns * due[name]:
                    self._turns[name] += 1
                    key = name.encode()
                    for event in _turn(name, turns):
                        self._produce(partition_for(key, self._partitions), key, CODEC.encode(event))
            chosen = self.written % self._sessions
            self._produce(places[chosen], keys[chosen], self._filler)
        self._producer.flush()

    def _produce(self, partition: int, key: bytes | None, value: bytes) -> None:
        self.written += 1
        while True:
            try:
                self._producer.produce(NAMES.events, value, key, partition)
                return
            except BufferError:
                self._producer.poll(0.05)


def _turn(session: str, number: int) -> Iterator[LogEvent]:
    ids = {"session_id": session, "turn_id": f"t{number}", "message_id": f"m{number}", "attempt": Attempt(0)}
    more = {"source_offset": number, "occurred_at": number + 1}
    yield TurnStarted(event_id=f"s{number}", text="hello there", agent="a", model="echo", **ids, **more)
    yield TurnCompleted(event_id=f"c{number}", text="x" * 200, deltas=1, decided_upto=number, **ids, **more)


def measure(connection: Connection, repeats: int) -> dict[str, object]:
    """Look at each session, cold, warm and again."""
    index = connection.data_dir / "index"
    figures: dict[str, object] = {}
    for name in LOOKED_AT:
        key = name.encode()
        partition = connection.partition_of(key)
        cold: list[float] = []
        for _ in range(min(repeats, _COLD)):
            shutil.rmtree(index, ignore_errors=True)
            cold.append(_look(connection, key))
        (file,) = index.glob(f"*/{partition}.sqlite")
        warm: list[float] = []
        for _ in range(repeats):
            _forget_snapshots(file)
            warm.append(_look(connection, key))
        with closing(History(connection)) as history:
            bounds = history.log.bounds(partition)
            places = (None, Moment(offset=bounds.end // 2))
            again = [_ms(partial(history.session, key, at)) for _ in range(repeats) for at in places]
            scan = _ms(partial(_scan, history, connection, key, partition))
        figures |= {
            f"{name}_records": bounds.end,
            f"{name}_cold": _told(cold),
            f"{name}_warm": _told(warm),
            f"{name}_again": _told(again[2:] or again),  # the first two made the snapshots of both places
            f"{name}_scan": scan,
            f"{name}_index_mb": round(file.stat().st_size / 1e6, 1),
        }
    return figures


def _look(connection: Connection, key: bytes) -> float:
    """Return how long it takes to see a session at its end, connecting and the threads of the client included."""

    def look() -> None:
        with closing(History(connection)) as history:
            history.session(key)

    return _ms(look)


def _told(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 1), "worst": max(times)} if times else {}


def _scan(history: History, connection: Connection, key: bytes, partition: int) -> None:
    judge = Judge(partition, history.log.topic, connection.codec)
    bounds = history.log.bounds(partition)
    for batch in history.log.read(partition, bounds.earliest, bounds.end):
        for message in batch:
            if message.key() in {key, None}:
                judge.judge(message)


def _forget_snapshots(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM snapshots")
    db.close()


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return round((time.perf_counter() - began) * 1000, 1)


def main() -> None:
    """Run it and print a line of JSON for each length of the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=4, help="lengths of the log that are measured")
    parser.add_argument("--repeats", type=int, default=5, help="looks of each kind; cold ones are at most 3")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--sessions", type=int, default=100_000, help="that share the log")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "broker", free_port(), stops_with_parent=True)
        try:
            servers = broker.start().bootstrap_servers
            ensure_topics(servers, catalog(NAMES, partitions=asked.partitions))
            config = {"bootstrap.servers": servers}
            connection = Connection(servers, NAMES, asked.partitions, config, CODEC, Path(folder) / "data")
            log = Log(servers, asked.partitions, asked.sessions)
            for step in range(asked.steps, 0, -1):
                began = time.perf_counter()
                log.grow(asked.events // 2 ** (step - 1), asked.events)
                written_s = round(time.perf_counter() - began, 1)
                figures = {"events": log.written, "written_s": written_s, **measure(connection, asked.repeats)}
                print(json.dumps({**figures, "cpus": os.cpu_count(), "python": platform.python_version()}), flush=True)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
