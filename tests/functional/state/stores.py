"""Makes a real session store on a folder, with no Kafka behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import faust

from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.options import StoreOptions
from state.store import ChangelogRecord, SessionStore
from state.table import SESSIONS, SessionTable
from state.value import PARTITION_KEY, ValueCodec

VALUES = ValueCodec(Codec())

StoreFactory = Callable[..., SessionStore]


def make_store(
    folder: Path, *, prefix: str = "t", partitions: int = 4, options: StoreOptions | None = None
) -> SessionStore:
    """A store as the app factory makes it (``streams.app``); nothing is connected, nothing opened."""
    app = faust.App(
        prefix,
        datadir=str(folder),
        store="rocksdb://",
        Table=SessionTable,
        autodiscover=False,
        topic_allow_declare=False,
    )
    settings: dict[str, Any] = {"store_options": options or StoreOptions()}
    table = app.Table(SESSIONS, partitions=partitions, key_type=bytes, value_type=bytes, options=settings)
    store: SessionStore = table.store
    return store


def session_value(session_id: str = "s1", folded: int = 1, **fields: Any) -> bytes:
    """A table value of a session."""
    return VALUES.encode(Session(session_id=session_id, folded=folded, epoch=0, **fields))


def partition_value(folded: int = 0, partition: int = 0) -> bytes:
    """A table value of a partition."""
    return VALUES.encode(PartitionState(partition=partition, folded=folded, epochs=(folded,)))


def of_version(value: bytes, version: int) -> bytes:
    """The same value as a worker of another fold version wrote it."""
    return value[:2] + version.to_bytes(2, "big") + value[4:]


class ChangelogInMemory:
    """Stands for ``ChangelogReader``: serves what a test put into it."""

    def __init__(self, records: Mapping[int, Iterable[tuple[bytes, bytes | None]]] | None = None) -> None:
        self.records = {
            partition: [ChangelogRecord(offset, key, value) for offset, (key, value) in enumerate(pairs)]
            for partition, pairs in (records or {}).items()
        }
        self.ends: dict[int, int] = {}
        self.reads: list[dict[int, tuple[int, int]]] = []
        self.batch = 2

    def highwaters(self, partitions: list[int], *, timeout_s: float = 30.0) -> dict[int, tuple[int, int]]:
        """As the reader's."""
        return {p: (0, self.ends.get(p, len(self.records.get(p, [])))) for p in partitions}

    def read(self, ranges: Mapping[int, tuple[int, int]], *, deadline_s: float, stop: Event | None = None) -> Any:
        """As the reader's: batches, and the end reached whatever is missing before it."""
        self.reads.append(dict(ranges))
        for partition, (first, end) in ranges.items():
            records = [record for record in self.records.get(partition, []) if first <= record.offset < end]
            for start in range(0, len(records), self.batch):
                batch = records[start : start + self.batch]
                yield partition, batch, batch[-1].offset + 1
            if first < end:
                yield partition, [], end


__all__ = [
    "PARTITION_KEY",
    "VALUES",
    "ChangelogInMemory",
    "make_store",
    "of_version",
    "partition_value",
    "session_value",
]
