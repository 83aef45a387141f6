"""Resident memory of a table of 1,000, 100,000 and a million sessions, beside a dict of the same values.

``python -m benchmarks.memory [--sessions 1000 100000 1000000] [--json]``. The write path of a worker with RocksDB as it
is set, in one process without a broker: each session is folded from a turn's two events, encoded, confirmed at once and
written. Then sessions are read at random, as redelivered and returning users have it, so that the caches are as full
as they get. The dict keeps the encoded values of as many sessions, each side in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.recovery import VALUES, make_store
from schemas.attempt import Attempt
from schemas.events import PartitionOpened, TurnCompleted, TurnStarted
from schemas.ids import event_id_for, turn_id_for
from schemas.session import PartitionState, Session
from state.options import StoreOptions
from state.partition_fold import PartitionFold
from state.store import SessionStore
from state.write_path import OnDelivery, WritePath
from topics.names import TopicNames
from topics.partitioner import partition_for

_MIB = 1024 * 1024
_BATCH = 1000
_READS = 20_000
_WORDS = [f"{random.Random(number).getrandbits(32):x}"[: 3 + number % 6] for number in range(4096)]


@dataclass(frozen=True)
class Point:
    """Memory at one number of sessions.

    Attributes:
        sessions: In the table.
        resident_mib: The process's resident memory.
        grown_mib: ... less what it was with an empty table.
        memtables_mib, cache_mib, readers_mib: RocksDB's own account of it, over all partitions.
        disk_mib: The table files.
        seconds: Since the first session.
    """

    sessions: int
    resident_mib: float
    grown_mib: float
    memtables_mib: float
    cache_mib: float
    readers_mib: float
    disk_mib: float
    seconds: float


class Turns:
    """One turn for each session, folded as a worker does it."""

    def __init__(self, folds: list[PartitionFold], size: int) -> None:
        self._folds = folds
        self._size = size
        self._ends = [1] * len(folds)
        self._random = random.Random(1)
        for number, fold in enumerate(folds):
            fold.open(PartitionOpened(event_id=f"o{number}", owner="bench", generation=1, occurred_at=1), offset=0)

    def fold(self, partition: int, session: Session) -> Session:
        """Fold a turn's start and its outcome, an answer of random words that compress as text does."""
        turn_id, attempt, offset = turn_id_for(session.session_id, "m"), Attempt(0, 0), self._ends[partition]
        placed: dict[str, Any] = {
            "session_id": session.session_id,
            "turn_id": turn_id,
            "message_id": "m",
            "attempt": attempt,
            "source_offset": offset,
            "occurred_at": 1,
        }
        text = " ".join(self._random.choices(_WORDS, k=self._size // 6))[: self._size]
        for event in (
            TurnStarted(
                event_id=event_id_for(turn_id, attempt, "start"),
                text="what did you find?",
                agent="assistant",
                model="echo",
                **placed,
            ),
            TurnCompleted(
                event_id=event_id_for(turn_id, attempt, "outcome"), text=text, deltas=1, decided_upto=offset, **placed
            ),
        ):
            session, _ = self._folds[partition].apply(session, event, offset=self._ends[partition])
            self._ends[partition] += 1
        return session


class Table:
    """A worker's table without a broker: each changelog record is confirmed at once."""

    def __init__(self, folder: Path, partitions: int, size: int) -> None:
        self._partitions = partitions
        self.store = make_store(folder, TopicNames("bench-memory"), partitions)
        self.store.own(range(partitions))
        self._changes = [0] * partitions
        self._path = WritePath(self.store, VALUES, self._confirm, on_foreign_record=_refuse, on_store_failure=_fail)
        self._turns = Turns([PartitionFold(self._path.open_partition(p)) for p in range(partitions)], size)
        self._random = random.Random(2)

    def _confirm(self, partition: int, _key: bytes, _value: bytes, on_delivery: OnDelivery) -> None:
        offset = self._changes[partition]
        self._changes[partition] += 1
        asyncio.get_running_loop().call_soon(on_delivery, None, offset)

    async def grow(self, first: int, end: int) -> None:
        """Make the sessions numbered from ``first`` to before ``end``, one turn each."""
        for begin in range(first, end, _BATCH):
            for number in range(begin, min(begin + _BATCH, end)):
                key = _key(number)
                partition = partition_for(key, self._partitions)
                session = self._turns.fold(partition, self._path.load(partition, key))
                self._path.put(partition, key, session, _nothing, urgent=True)
            self._path.flush_all()
            while self._path.unconfirmed:  # noqa: ASYNC110 -- a few turns of the loop
                await asyncio.sleep(0)

    def read(self, sessions: int) -> None:
        """Load sessions at random, as turns do."""
        for _ in range(_READS):
            key = _key(self._random.randrange(sessions))
            if not self._path.load(partition_for(key, self._partitions), key).memory:
                raise SystemExit(f"{key!r} has no memory")


def _key(number: int) -> bytes:
    return f"session-{number:08d}".encode()


def _nothing() -> None:
    return


def _refuse(partition: int, first: int) -> None:
    raise SystemExit(f"partition {partition}: a foreign record at {first}")


def _fail(error: Exception) -> None:
    raise SystemExit(f"the store failed: {error}")


def measure_table(folder: Path, counts: list[int], partitions: int, size: int) -> list[Point]:
    """Grow the table step by step."""
    process = psutil.Process()
    table = Table(folder, partitions, size)
    empty = process.memory_info().rss
    began, made = time.perf_counter(), 0
    points = []
    with asyncio.Runner() as runner:
        for count in counts:
            runner.run(table.grow(made, count))
            made = count
            table.read(count)
            resident = process.memory_info().rss
            points.append(
                Point(
                    sessions=count,
                    resident_mib=resident / _MIB,
                    grown_mib=(resident - empty) / _MIB,
                    memtables_mib=sum(_rocksdb_mib(table.store, "rocksdb.cur-size-all-mem-tables")),
                    cache_mib=max(_rocksdb_mib(table.store, "rocksdb.block-cache-usage")),  # shared: the same in each
                    readers_mib=sum(_rocksdb_mib(table.store, "rocksdb.estimate-table-readers-mem")),
                    disk_mib=sum(file.stat().st_size for file in folder.rglob("*.sst")) / _MIB,
                    seconds=time.perf_counter() - began,
                )
            )
        runner.run(table.store.stop())
    return points


def _rocksdb_mib(store: SessionStore, name: str) -> list[float]:
    """One of RocksDB's memory figures, for each partition."""
    return [(store._dbs[number].property_int_value(name) or 0) / _MIB for number in store.opened()]  # noqa: SLF001


def measure_dict(counts: list[int], partitions: int, size: int) -> list[float]:
    """Keep the same values in a dict; returns by how many MiB the process grew at each count."""
    turns, process = (
        Turns([PartitionFold(PartitionState(partition=p)) for p in range(partitions)], size),
        psutil.Process(),
    )
    empty = process.memory_info().rss
    values: dict[bytes, bytes] = {}
    grown = []
    for count in counts:
        for number in range(len(values), count):
            key = _key(number)
            session = turns.fold(partition_for(key, partitions), Session(session_id=key.decode()))
            values[key] = VALUES.encode(session)
        grown.append((process.memory_info().rss - empty) / _MIB)
    return grown


def _in_process(side: str, args: argparse.Namespace) -> list[object]:
    command = [sys.executable, "-m", "benchmarks.memory", "--side", side, "--bytes", str(args.bytes)]
    command += ["--partitions", str(args.partitions), "--sessions", *map(str, args.sessions)]
    found: list[object] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Measure both sides and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--bytes", type=int, default=1024, help="length of each session's answer")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("table", "dict"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.sessions = sorted(args.sessions)
    if args.side == "dict":
        print(json.dumps(measure_dict(args.sessions, args.partitions, args.bytes)))
    elif args.side == "table":
        with tempfile.TemporaryDirectory(prefix="barnabas-bench-") as folder:
            points = measure_table(Path(folder), args.sessions, args.partitions, args.bytes)
        print(json.dumps([asdict(point) for point in points]))
    else:
        _report(args)


def _report(args: argparse.Namespace) -> None:
    points = [Point(**point) for point in _in_process("table", args)]  # type: ignore[arg-type]
    in_dict = _in_process("dict", args)
    store = asdict(StoreOptions())
    if args.json:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        rows = [{**asdict(point), "dict_grown_mib": grown} for point, grown in zip(points, in_dict, strict=True)]
        setup = {"machine": machine, "bytes": args.bytes, "partitions": args.partitions, "store": store}
        print(json.dumps({**setup, "points": rows}))
        return
    print(f"{args.partitions} partitions, answers of {args.bytes} bytes, {store}")
    heads = {
        "resident": 12,
        "grown": 10,
        "dict grown": 12,
        "memtables": 11,
        "cache": 9,
        "readers": 9,
        "disk": 10,
        "time": 9,
    }
    print(f"{'sessions':>10}" + "".join(f"{head:>{width}}" for head, width in heads.items()))
    for point, grown in zip(points, in_dict, strict=True):
        print(
            f"{point.sessions:10,}{point.resident_mib:8.0f} MiB{point.grown_mib:8.0f} MiB{grown:8.0f} MiB"
            f"{point.memtables_mib:8.0f} MiB{point.cache_mib:8.0f} MiB{point.readers_mib:8.0f} MiB"
            f"{point.disk_mib:8.0f} MiB{point.seconds:10.1f} s"
        )


if __name__ == "__main__":
    main()
