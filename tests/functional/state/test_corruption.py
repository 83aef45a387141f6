"""Real damage to each kind of a RocksDB's files: found at open, while recovering, or while running; never served."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from state.recovery import Recovery
from state.store import CorruptStoreError, LockedStoreError, SessionStore
from tests.functional.state.stores import (
    PARTITION_KEY,
    ChangelogInMemory,
    make_store,
    partition_value,
    session_value,
)

SESSIONS = {b"s%d" % n: session_value(f"s{n}", n, memory=()) for n in range(1, 400)}
CHANGELOG = ChangelogInMemory({0: [(PARTITION_KEY, partition_value(0)), *SESSIONS.items()]})
CHANGELOG.batch = 50
TABLE = {PARTITION_KEY: partition_value(0), **SESSIONS}


def newest(folder: Path, pattern: str) -> Path:
    """The largest file of a kind: a RocksDB may have empty ones beside it."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    """All files of a kind."""
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


def scramble(path: Path) -> None:
    """Overwrite all but the first bytes with noise."""
    content = path.read_bytes()
    assert len(content) > 8, path
    path.write_bytes(content[:8] + random.Random(1).randbytes(len(content) - 8))


def cut(path: Path) -> None:
    """Keep the first half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


async def filled(folder: Path, *, flushed: bool) -> SessionStore:
    """A store that holds the changelog; in table files, or in its write-ahead log only."""
    store = make_store(folder)
    await Recovery(store, CHANGELOG, deadline_s=60).run({0}, {0})  # type: ignore[arg-type]
    if flushed:
        store._dbs[0].flush(wait=True)
    return store


async def recovered(folder: Path) -> dict[bytes, bytes]:
    """What another start finds."""
    store = make_store(folder)
    await Recovery(store, CHANGELOG, deadline_s=60).run({0}, {0})  # type: ignore[arg-type]
    found = dict(store.items(0))
    assert (store.position(0), store.is_marked_corrupt(0)) == (len(TABLE) - 1, False)
    await store.stop()
    return found


@pytest.mark.parametrize("damage", [scramble, cut, Path.unlink], ids=["scrambled", "cut", "gone"])
@pytest.mark.parametrize("kind", ["CURRENT", "MANIFEST-*", "*.sst", "*.log"])
async def test_damage_before_a_start_is_wiped_and_recovered(
    tmp_path: Path, kind: str, damage: Callable[[Path], object]
) -> None:
    """Whatever RocksDB makes of it, the table is the changelog's again. Mutant: ``wipe_partition`` wipes nothing."""
    store = await filled(tmp_path, flushed=kind != "*.log")
    folder = Path(store.partition_path(0))
    kept = contents(folder, "*.log")  # a closing database flushes its log
    await store.stop()
    if kind == "*.log":
        for name, content in kept.items():
            (folder / name).write_bytes(content)
    damage(newest(folder, kind))

    assert await recovered(tmp_path) == TABLE


async def test_damage_to_a_table_s_index_is_no_lock(tmp_path: Path) -> None:
    """RocksDB says "block checksum mismatch": a word with "lock" in it, and the folder's name has one, too.

    Mutant: ``_is_locked`` looks for "lock" anywhere: the worker ends at each start, for ever.
    """
    folder = tmp_path / "block-storage"
    store = await filled(folder, flushed=True)
    table = Path(store.partition_path(0))
    await store.stop()
    path = newest(table, "*.sst")
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 600, len(content) - 60):  # the index and the properties, not the footer
        content[place] ^= 0xFF
    path.write_bytes(content)

    assert await recovered(folder) == TABLE


async def test_database_held_by_another_is_not_wiped(tmp_path: Path) -> None:
    """Another process's lock is no damage."""
    held = await filled(tmp_path, flushed=True)
    with pytest.raises(LockedStoreError):
        await recovered(tmp_path)
    assert {key: held.read(0, key) for key in SESSIONS} == SESSIONS
    await held.stop()


async def test_damage_while_running_ends_the_store_s_use_and_is_wiped_by_the_next_start(tmp_path: Path) -> None:
    """A table file rots under a running worker: the read says so, nothing wrong is served, the next start recovers.

    Mutant: ``_damaged`` does not touch its mark: the next start finds the same file.
    """
    await (await filled(tmp_path, flushed=True)).stop()
    store = make_store(tmp_path)
    store.own({0})
    scramble(newest(Path(store.partition_path(0)), "*.sst"))

    with pytest.raises(CorruptStoreError):
        assert {key: store.read(0, key) for key in SESSIONS} == SESSIONS
    assert store.is_marked_corrupt(0)
    await store.stop()
    assert await recovered(tmp_path) == TABLE


async def test_database_that_cannot_be_closed_is_left_and_recovered(tmp_path: Path) -> None:
    """The folder vanishes under a running worker: RocksDB cannot even close; that must not keep it from being wiped.

    Mutant: ``close_partition`` lets it through: recovery, and the worker's end, die of it.
    """
    store = await filled(tmp_path, flushed=True)
    store.write(0, {b"s1": session_value("s1", 1000)}, 500)
    shutil.rmtree(store.partition_path(0))
    await store.stop()

    assert store.opened() == frozenset()
    assert await recovered(tmp_path) == TABLE
