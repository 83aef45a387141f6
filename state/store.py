"""The RocksDB store of the session table: one database a partition, monotonic values, offsets inside the batch."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import rocksdict
from faust.stores.rocksdb import Store as FaustRocksDBStore
from faust.types import TP

from schemas.errors import StoreError
from state.fold import FOLD_VERSION
from state.options import RocksDB, StoreOptions
from state.value import FIRST_SESSION_KEY, ValueHeader, header_of

logger = logging.getLogger(__name__)


class ChangelogRecord(NamedTuple):
    """One record of the changelog, as recovery and repair read it."""

    offset: int
    key: bytes
    value: bytes | None


class Applied(NamedTuple):
    """What a batch of changelog records did.

    Attributes:
        stale: ``{key: folded}`` of keys whose **last** record is older than the table: they have to be sent
            again, since compaction may leave nothing else of them (hazard S2).
        outdated: Keys whose last record is of another fold version, or none of ours (a tombstone, foreign bytes),
            with nothing as new in the table: they have to be folded again.
        seen: All keys of the batch.
    """

    stale: dict[bytes, int]
    outdated: set[bytes]
    seen: set[bytes]


class CorruptStoreError(StoreError):
    """A partition's local database cannot be read or written; recovery wipes it and fills it again."""

    def __init__(self, message: str, *, partition: int) -> None:
        super().__init__(message)
        self.partition = partition


class LockedStoreError(StoreError):
    """A partition's local database is open elsewhere: it is sound, and not ours to wipe."""


def _usable_header(record: ChangelogRecord) -> ValueHeader | None:
    """Return the record's header, None for what is none of ours: it must not stop a recovery, nor lose a session."""
    try:
        return header_of(record.value) if record.value is not None else None
    except StoreError:
        return None


def _is_locked(exc: Exception) -> bool:
    """Whether RocksDB met a lock, of this process or another. Damage names "block"s, and so may a path."""
    text = str(exc)
    return text.startswith("IO error: ") and ("lock hold by current process" in text or "While lock file" in text)


class SessionStore(FaustRocksDBStore):
    """Faust's RocksDB store with what it lacks (hazards T1, T2, F16, F18, F19, S2).

    A value is replaced only by one that is folded at least as far; the changelog offset travels in the same
    batch; partitions that are not owned are never opened; handles are closed explicitly.
    """

    def __init__(self, *args: Any, options: Any = None, **kwargs: Any) -> None:
        given = dict(options or {})  # T3: Faust pops from the mapping it is given
        self._rocksdb = RocksDB(given.pop("store_options", None) or StoreOptions())
        super().__init__(*args, options={}, **kwargs)
        self._owned: set[int] = set()
        #: Partitions of which a copy is kept for another owner.
        self._followed: set[int] = set()

    # -- Opening and closing

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions this worker may write."""
        return frozenset(self._owned)

    def own(self, partitions: Iterable[int]) -> None:
        """Open exactly these partitions and close the others; copies that were followed must have been released.

        Raises:
            LockedStoreError: A partition's database is held by another process.
            StoreError: ... or is damaged.
        """
        wanted = set(partitions)
        for partition in [*self._dbs]:
            if partition not in wanted:
                self.close_partition(partition)
        self._owned, self._followed = wanted, set()
        self._open_all(wanted)

    def follow(self, partitions: Iterable[int]) -> None:
        """Open these beside the owned ones: copies that a standby keeps; raises as :meth:`own`."""
        self._followed = set(partitions) - self._owned
        self._open_all(self._followed)

    def _open_all(self, partitions: Iterable[int]) -> None:
        unopened: list[StoreError] = []
        for partition in sorted(partitions):
            try:
                self._db_for_partition(partition)
            except StoreError as exc:  # the others are sound: only this one is to be recovered
                unopened.append(exc)
        if unopened:
            raise next((exc for exc in unopened if isinstance(exc, LockedStoreError)), unopened[0])

    def opened(self) -> frozenset[int]:
        """The partitions whose database is open."""
        return frozenset(self._dbs)

    def is_marked_corrupt(self, partition: int) -> bool:
        """Say whether an earlier read met damage: the partition has to be wiped."""
        return self._mark_of(partition).exists()

    def _mark_of(self, partition: int) -> Path:
        path = Path(self.partition_path(partition))
        return path.with_name(f"{path.name}.corrupt")

    def _damaged(self, partition: int, exc: Exception) -> CorruptStoreError:
        """Mark the partition for its next recovery, which wipes it; RocksDB finds damage only where it reads."""
        if "corruption" in str(exc).lower():
            self._mark_of(partition).touch()
        return CorruptStoreError(f"the local store {self.partition_path(partition)} failed: {exc}", partition=partition)

    def age_s(self, partition: int) -> float | None:
        """Return the seconds since a partition's local database was last written, None where there is none."""
        try:
            entries = [entry.stat().st_mtime for entry in os.scandir(self.partition_path(partition))]
        except FileNotFoundError:
            return None
        return time.time() - max(entries) if entries else None

    def close_partition(self, partition: int) -> None:
        """Close a partition's database: flushed, its lock released (F18)."""
        self._owned.discard(partition)
        self._followed.discard(partition)
        db = self._dbs.pop(partition, None)
        if db is not None:
            try:
                db.close()
            except Exception as exc:  # noqa: BLE001 -- rocksdict raises bare Exception
                # Nothing is lost: what is in RocksDB is in the changelog, and its position with it.
                logger.warning("the local store %s did not close: %s", self.partition_path(partition), exc)

    def wipe_partition(self, partition: int) -> None:
        """Remove a partition's local database; recovery fills it again."""
        owned, followed = partition in self._owned, partition in self._followed
        self.close_partition(partition)
        shutil.rmtree(self.partition_path(partition), ignore_errors=True)
        self._mark_of(partition).unlink(missing_ok=True)
        if owned:
            self._owned.add(partition)
        if followed:
            self._followed.add(partition)

    def on_disk(self) -> frozenset[int]:
        """The partitions of which this worker's folder holds a copy."""
        path = Path(self.partition_path(0))
        stem = path.name.removesuffix("0.db")
        numbers = (entry.name.removeprefix(stem).removesuffix(".db") for entry in path.parent.glob(f"{stem}*.db"))
        return frozenset(int(number) for number in numbers if number.isdecimal())

    def _open_for_partition(self, partition: int) -> rocksdict.Rdict:
        if partition not in self._owned | self._followed:
            msg = f"partition {partition} of the session table is not this worker's to open"
            raise StoreError(msg)
        path = Path(self.partition_path(partition))
        try:
            return self._rocksdb.open(path)
        except Exception as exc:  # rocksdict raises bare Exception
            msg = f"the local store {path} cannot be opened: {exc}"
            raise (LockedStoreError if _is_locked(exc) else StoreError)(msg) from exc

    async def stop(self) -> None:
        """Close every database."""
        for partition in [*self._dbs]:
            self.close_partition(partition)

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:
        """Close what was lost, at once: the next owner may share this disk."""
        for tp in tps:
            if tp.topic == table.changelog_topic_name:
                self.close_partition(tp.partition)

    async def assign_partitions(self, table: Any, tps: set[TP], generation_id: int = 0) -> None:
        """Do nothing: recovery opens what it recovers."""

    # -- Reading

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Return the value of a key of an owned partition (T3: never a scan over partitions).

        Raises:
            CorruptStoreError: The database is damaged.
        """
        return self._get(partition, self._db_for_partition(partition), key)

    def _get(self, partition: int, db: rocksdict.Rdict, key: bytes) -> bytes | None:
        try:
            value: bytes | None = db.get(key)
        except Exception as exc:  # rocksdict raises bare Exception
            raise self._damaged(partition, exc) from exc
        return value

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over a partition's values, keys ascending; exhaust it or delete it before closing (F18)."""
        for key, value in self._db_for_partition(partition).items():
            if key != self.offset_key:
                yield key, value

    def range(self, partition: int, after: bytes, prefix: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Return up to ``count`` sessions' values behind the key ``after``, keys ascending, of keys with ``prefix``.

        No iterator outlives the call (F18): a page is gone on with by the last key of the one before.

        Raises:
            CorruptStoreError: The database is damaged.
        """
        first = max(after + b"\x00", prefix, FIRST_SESSION_KEY)
        try:
            return self._range(self._db_for_partition(partition), first, prefix, count)
        except StoreError:
            raise
        except Exception as exc:  # rocksdict raises bare Exception
            raise self._damaged(partition, exc) from exc

    def _range(self, db: rocksdict.Rdict, first: bytes, prefix: bytes, count: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for key, value in db.items(from_key=first):
            if len(found) == count or not key.startswith(prefix):
                break
            if key != self.offset_key:
                found.append((key, value))
        return found

    def position(self, partition: int) -> int:
        """Return the changelog offset up to which this partition's values are complete, -1 for none."""
        raw = self.read(partition, self.offset_key)
        return int(raw) if raw is not None else -1

    def properties(self, name: str) -> list[int]:
        """Return an integer property of each open database, such as ``rocksdb.estimate-num-keys``."""
        values = []
        for db in [*self._dbs.values()]:
            with suppress(Exception):  # rocksdict raises bare Exception; recovery may close one meanwhile
                values.append(db.property_int_value(name) or 0)
        return values

    # -- Writing

    def write(self, partition: int, values: dict[bytes, bytes], position: int | None) -> None:
        """Write values the broker has confirmed, and with them the changelog position, in one batch.

        Each must be folded at least as far as the stored one: the caller's overlay holds that.
        """
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in values.items():
            batch.put(key, value)
        if position is not None:
            batch.put(self.offset_key, b"%d" % position)
        db = self._db_for_partition(partition)
        try:
            db.write(batch)
        except Exception as exc:  # rocksdict raises bare Exception
            raise self._damaged(partition, exc) from exc

    def apply(self, partition: int, records: Iterable[ChangelogRecord], position: int | None) -> Applied:
        """Apply changelog records in order, each only if it is folded at least as far as what is stored.

        ``position`` is written with them; None leaves it as it is.
        """
        db = self._db_for_partition(partition)
        newest: dict[bytes, bytes] = {}
        applied = Applied({}, set(), set())
        for record in records:
            key = record.key
            applied.seen.add(key)
            applied.stale.pop(key, None)
            applied.outdated.discard(key)
            current = newest.get(key)
            if current is None:
                current = self._get(partition, db, key)
            folded = header_of(current).folded if current is not None else -1
            header = _usable_header(record)
            if header is not None and header.fold_version == FOLD_VERSION and header.folded >= folded:
                newest[key] = record.value or b""
            elif current is not None and (header is None or header.folded <= folded):
                applied.stale[key] = header.folded if header is not None else -1
            else:
                applied.outdated.add(key)
        self.write(partition, newest, position)
        return applied

    def apply_changelog_batch(self, *_args: Any, **_kwargs: Any) -> None:
        """Refuse Faust's own path: it is neither monotonic nor contiguous."""
        msg = "the session table recovers through state.recovery alone"
        raise StoreError(msg)

    def _set(self, _key: bytes, _value: bytes | None) -> None:
        msg = "the session table is written by the projector alone"
        raise StoreError(msg)

    def _del(self, key: bytes) -> None:
        self._set(key, None)
