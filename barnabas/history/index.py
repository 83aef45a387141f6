"""Where a session's events lie in one partition of the log: a local SQLite file that may be deleted at any time.

It holds nothing that the log does not say. Rows and the offset they reach are committed together, so that it is
exactly a prefix of the partition, whenever a process dies; several processes may use it at once.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from schemas.errors import StoreError
from state.fold import FOLD_VERSION

_FORMAT: Final = 2
_BUSY_S: Final = 30.0

#: Endings of the file's name: a fresh database does not take the log of the old one.
_FILES: Final = ("", "-wal", "-shm")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), first INTEGER, next INTEGER);
CREATE TABLE IF NOT EXISTS runs (
    session BLOB, first INTEGER, last INTEGER, deltas BLOB, PRIMARY KEY (session, first)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    session BLOB PRIMARY KEY, events INTEGER, last INTEGER, last_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS openings (offset INTEGER PRIMARY KEY, owner TEXT);
CREATE TABLE IF NOT EXISTS snapshots (
    session BLOB, offset INTEGER, version INTEGER, value BLOB, PRIMARY KEY (session, offset)
) WITHOUT ROWID;
"""


class Run(NamedTuple):
    """Some offsets of a session, ascending; ``last_ms`` is the time of the last."""

    offsets: Sequence[int]
    last_ms: int


class Opening(NamedTuple):
    """A ``PartitionOpened``: its offset is the epoch of what follows."""

    offset: int
    owner: str


class Listed(NamedTuple):
    """A session of the partition.

    Attributes:
        key: Its Kafka key.
        events: How many records of the log are its own.
        last_offset: The newest of them.
        last_ms: When that was written, Unix ms.
    """

    key: bytes
    events: int
    last_offset: int
    last_ms: int


class PartitionIndex:
    """One partition's index.

    Args:
        path: The file; its folder is made.

    Raises:
        StoreError: From every method but :meth:`keep`: the file cannot be opened, read or written, or is locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._wrapped("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.OperationalError:  # locked, no room, not ours to open: its rows may be sound
                raise
            except sqlite3.DatabaseError:  # torn by a full disk, say, or another version's: the log has everything
                for ending in _FILES:
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        # Its user calls it from one thread at a time, not always the same.
        db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")  # what a power cut destroys is made again
            if db.execute("PRAGMA user_version").fetchone()[0] not in {0, _FORMAT}:
                _refuse_format()
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_FORMAT}")
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    @property
    def place(self) -> tuple[int, int] | None:
        """``(first, next)``: the offsets it covers, ``next`` excluded; None while it is empty."""
        rows: list[tuple[int, int]] = self._rows("SELECT first, next FROM place")
        return rows[0] if rows else None

    def begin(self, first: int) -> None:
        """Empty it, to cover what follows ``first``."""
        with self._wrapped("written"), self._transaction() as cursor:
            for table in ("runs", "sessions", "openings", "snapshots", "place"):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 -- names of our own
            cursor.execute("INSERT INTO place VALUES (1, ?, ?)", (first, first))

    def extend(self, start: int, end: int, runs: Mapping[bytes, Run], openings: Sequence[Opening]) -> bool:
        """Add what lies between ``start`` and ``end``; False where another process was first."""
        with self._wrapped("written"), self._transaction() as cursor:
            cursor.execute("UPDATE place SET next = ? WHERE next = ?", (end, start))
            if not cursor.rowcount:
                return False
            in_order = sorted(runs.items())
            cursor.executemany(
                "INSERT INTO runs VALUES (?, ?, ?, ?)",
                ((key, run.offsets[0], run.offsets[-1], _packed(run.offsets)) for key, run in in_order),
            )
            cursor.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?, ?) ON CONFLICT (session) DO UPDATE SET "
                "events = events + excluded.events, last = excluded.last, last_ms = excluded.last_ms",
                ((key, len(run.offsets), run.offsets[-1], run.last_ms) for key, run in in_order),
            )
            cursor.executemany("INSERT INTO openings VALUES (?, ?)", openings)
        return True

    def offsets(self, key: bytes, first: int, end: int) -> list[int]:
        """Return a session's offsets from ``first`` to ``end`` (excluded), ascending."""
        rows = self._rows(
            "SELECT first, deltas FROM runs WHERE session = ? AND first < ? AND last >= ? ORDER BY first",
            (key, end, first),
        )
        return [offset for begin, deltas in rows for offset in _unpacked(begin, deltas) if first <= offset < end]

    def openings(self, first: int, end: int) -> list[Opening]:
        """Return the openings from ``first`` to ``end`` (excluded), ascending."""
        rows = self._rows(
            "SELECT offset, owner FROM openings WHERE offset >= ? AND offset < ? ORDER BY offset", (first, end)
        )
        return [Opening(*row) for row in rows]

    def openings_before(self, end: int, count: int) -> list[Opening]:
        """Return the last ``count`` openings before ``end``, ascending."""
        rows = self._rows(
            "SELECT offset, owner FROM openings WHERE offset < ? ORDER BY offset DESC LIMIT ?", (end, count)
        )
        return [Opening(*row) for row in rows][::-1]

    def snapshot(self, key: bytes, end: int) -> tuple[int, bytes] | None:
        """Return the newest snapshot before ``end``: the offset of the last event in it, and the value."""
        rows: list[tuple[int, bytes]] = self._rows(
            "SELECT offset, value FROM snapshots WHERE session = ? AND offset < ? AND version = ? "
            "ORDER BY offset DESC LIMIT 1",
            (key, end, FOLD_VERSION),
        )
        return rows[0] if rows else None

    def keep(self, key: bytes, snapshots: Mapping[int, bytes]) -> None:
        """Keep what a session was at some of its offsets, where there is room for it: later questions are faster."""
        with suppress(sqlite3.DatabaseError), self._transaction() as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                ((key, offset, FOLD_VERSION, value) for offset, value in snapshots.items()),
            )

    def sessions(self, limit: int) -> list[Listed]:
        """Return the sessions that changed last, newest first."""
        rows = self._rows(
            "SELECT session, events, last, last_ms FROM sessions ORDER BY last_ms DESC, session LIMIT ?", (limit,)
        )
        return [Listed(*row) for row in rows]

    def keys(self, after: bytes, prefix: bytes, count: int) -> list[bytes]:
        """Return up to ``count`` keys behind ``after`` that begin with ``prefix``, ascending."""
        beyond = prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"  # UTF-8 has no such byte
        rows = self._rows(
            "SELECT session FROM sessions WHERE session > ? AND session >= ? AND session < ? ORDER BY session LIMIT ?",
            (after, prefix, beyond, count),
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._wrapped("read"):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """Commit what is done inside, all or nothing."""
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # SQLite ends it by itself after some errors
                    cursor.execute("ROLLBACK")

    @contextmanager
    def _wrapped(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            raise StoreError(
                f"the index {self._path} cannot be {done}: {error}; make room, or remove it: the log has everything"
            ) from error


def _refuse_format() -> NoReturn:
    raise sqlite3.DatabaseError("another version's")


def _packed(offsets: Sequence[int]) -> bytes:
    """Distances from the first, 4 bytes each: one commit never covers 4 billion records."""
    first = offsets[0]
    return array("I", [offset - first for offset in offsets]).tobytes()


def _unpacked(first: int, deltas: bytes) -> list[int]:
    return [first + delta for delta in memoryview(deltas).cast("I")]
