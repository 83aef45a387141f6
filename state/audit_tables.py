"""The local tables of this machine's workers, read while they may be running."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rocksdict
from faust.stores.rocksdb import Store as FaustRocksDBStore

from topics.names import TABLE_NAME

#: ``<data folder>/workers/<worker>/v1/tables/sessions-<partition>.db``: Faust's layout below the worker's folder.
_PATTERN: Final = f"workers/*/v*/tables/{TABLE_NAME}-*.db"
_PARTITION: Final = re.compile(r"-(\d+)\.db$")

#: A running worker may remove a file between the listing and its opening.
_ATTEMPTS: Final = 8
_PAUSE_S: Final = 0.05


@dataclass(slots=True)
class LocalTable:
    """One partition's database as it was when opened.

    Attributes:
        worker: Name of the worker's folder.
        position: Changelog offset up to which it says it is complete, -1 for none.
        values: Everything in it.
    """

    worker: str
    position: int
    values: dict[bytes, bytes]


class UnreadableTableError(Exception):
    """A local database cannot be opened."""


def local_tables(data_dir: Path, partition: int, only: frozenset[bytes] | None = None) -> Iterator[LocalTable]:
    """Yield a partition's tables, of whichever workers have one; ``only`` names the keys wanted.

    Raises:
        UnreadableTableError: One of them stays unreadable; those of other workers are not reached.
    """
    for path in sorted(data_dir.glob(_PATTERN)):
        match = _PARTITION.search(path.name)
        if match is not None and int(match[1]) == partition:
            table = _read(path, only)
            if table is not None:
                yield table


def _read(path: Path, only: frozenset[bytes] | None) -> LocalTable | None:
    error: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S)
        if not (path / "CURRENT").exists():
            if not path.exists():
                return None  # wiped: its worker recovers it
            continue  # just being made
        try:
            return _read_once(path, only)
        except Exception as exc:  # noqa: BLE001 -- rocksdict raises bare Exception
            error = exc
    if error is None:
        return None
    raise UnreadableTableError(f"{path}: {error}") from error


def _read_once(path: Path, only: frozenset[bytes] | None) -> LocalTable:
    # RocksDB writes its own log also for a reader, and would turn over the worker's: elsewhere with it.
    with tempfile.TemporaryDirectory(prefix="barnabas-audit-") as logs:
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(False)  # noqa: FBT003 -- RocksDB's own signature
        options.set_max_open_files(-1)  # every file is opened now, so that none can be missing later
        options.set_db_log_dir(logs)
        database = rocksdict.Rdict(str(path), options=options, access_type=rocksdict.AccessType.read_only())
        try:
            values = _values(database, only)
        finally:
            database.close()
    position = values.pop(FaustRocksDBStore.offset_key, None)
    return LocalTable(path.parents[2].name, int(position) if position is not None else -1, values)


def _values(database: rocksdict.Rdict, only: frozenset[bytes] | None) -> dict[bytes, bytes]:
    if only is None:
        return dict(database.items())
    found = {key: database.get(key) for key in (*only, FaustRocksDBStore.offset_key)}
    return {key: value for key, value in found.items() if value is not None}
