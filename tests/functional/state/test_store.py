"""The RocksDB store on a real folder: what is owned, what is open, what may replace what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import rocksdict

from schemas.errors import StoreError
from state.fold import FOLD_VERSION
from state.options import RocksDB, StoreOptions
from state.store import ChangelogRecord, CorruptStoreError, SessionStore
from state.value import header_of
from tests.functional.state.stores import make_store, of_version, session_value

KEY = b"s1"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    """Give a store that owns partitions 0 and 1."""
    made = make_store(tmp_path)
    made.own({0, 1})
    yield made
    await made.stop()


def record(offset: int, folded: int, key: bytes = KEY) -> ChangelogRecord:
    """A changelog record of a session."""
    return ChangelogRecord(offset, key, session_value(key.decode(), folded))


def folded_of(store: SessionStore, partition: int = 0, key: bytes = KEY) -> int | None:
    """How far the stored value is folded."""
    raw = store.read(partition, key)
    return header_of(raw).folded if raw is not None else None


async def test_write_puts_values_and_position_in_one_batch(store: SessionStore, tmp_path: Path) -> None:
    """F19: offset and values are atomic. Mutant: the position left out of the batch."""
    store.write(0, {KEY: session_value()}, 41)
    await store.stop()
    again = make_store(tmp_path)
    again.own({0})

    assert (again.position(0), folded_of(again)) == (41, 1)
    assert list(again.items(0)) == [(KEY, session_value())]
    await again.stop()


async def test_write_without_a_position_leaves_it(store: SessionStore) -> None:
    """S2: a frozen position stays where it is."""
    store.write(0, {KEY: session_value("s1", 1)}, 4)
    store.write(0, {KEY: session_value("s1", 2)}, None)

    assert (store.position(0), folded_of(store)) == (4, 2)


@pytest.mark.parametrize("use", ["read", "write", "position", "apply"])
async def test_use_of_a_partition_that_is_not_owned_is_refused(store: SessionStore, use: str) -> None:
    """T2, F12: a zombie opens nothing. Mutant: the check in ``_open_for_partition`` removed: a database appears."""
    calls = {
        "read": lambda: store.read(2, KEY),
        "write": lambda: store.write(2, {KEY: session_value()}, 1),
        "position": lambda: store.position(2),
        "apply": lambda: store.apply(2, [record(0, 1)], 0),
    }
    with pytest.raises(StoreError, match="not this worker's"):
        calls[use]()

    assert not Path(store.partition_path(2)).exists()  # noqa: ASYNC240 -- nothing else runs in this test's loop


async def test_own_closes_what_is_lost_and_releases_its_lock(store: SessionStore) -> None:
    """F18: another process opens it at once, whoever still holds the handle. Mutant: ``db.close()`` commented out."""
    store.write(0, {KEY: session_value()}, 1)
    path, held = store.partition_path(0), store._dbs[0]

    store.own({1})

    assert store.opened() == frozenset({1})
    script = "import sys, rocksdict; rocksdict.Rdict(sys.argv[1], options=rocksdict.Options(raw_mode=True)).close()"
    done = subprocess.run(  # noqa: ASYNC221 -- nothing else runs in this test's loop
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    del held


async def test_close_of_a_lost_partition_refuses_late_writes(store: SessionStore) -> None:
    """T2: closing ends the ownership too. Mutant: ``_owned.discard`` removed: a late write opens it again."""
    store.close_partition(0)

    with pytest.raises(StoreError):
        store.write(0, {KEY: session_value()}, 1)
    assert store.opened() == frozenset({1})


async def test_store_held_by_another_process_is_an_error_that_says_so(store: SessionStore, tmp_path: Path) -> None:
    """T3: one folder a worker. The text carries RocksDB's word ``lock``: recovery must not wipe it."""
    other = make_store(tmp_path)

    with pytest.raises(StoreError, match=r"(?i)lock"):
        other.own({0})


@pytest.mark.parametrize(("second", "expected"), [(4, 5), (5, 5), (6, 6)], ids=["older", "as new", "newer"])
async def test_apply_replaces_a_value_only_by_one_folded_as_far(
    store: SessionStore, second: int, expected: int
) -> None:
    """A zombie may have written last. Mutant: the comparison of ``folded`` removed, or across batches only."""
    applied = store.apply(0, [record(0, 5), record(1, second)], 1)
    assert folded_of(store) == expected
    assert applied.stale == ({KEY: 4} if second < 5 else {})

    applied = store.apply(0, [record(2, second)], 2)

    assert folded_of(store) == expected
    assert applied.stale == ({KEY: 4} if second < 5 else {})
    assert store.position(0) == 2


async def test_apply_reports_only_keys_whose_last_record_is_older(store: SessionStore) -> None:
    """Repair sends nothing that is in order. Mutant: ``stale.pop`` removed."""
    applied = store.apply(0, [record(0, 5), record(1, 4), record(2, 6)], 2)

    assert applied.stale == {}
    assert folded_of(store) == 6


async def test_apply_of_a_tombstone_keeps_the_session_and_reports_it(store: SessionStore) -> None:
    """A foreign tombstone must not lose a session, neither here nor by compaction. Mutant: ``continue`` on None."""
    applied = store.apply(0, [record(0, 5), ChangelogRecord(1, KEY, None), ChangelogRecord(2, b"new", None)], 2)

    assert folded_of(store) == 5
    assert (applied.stale, applied.outdated) == ({KEY: -1}, {b"new"})


async def test_apply_of_foreign_bytes_goes_on(store: SessionStore) -> None:
    """F16: poison stops no recovery. Mutant: ``header_of`` unguarded raises."""
    applied = store.apply(0, [ChangelogRecord(0, KEY, b"junk"), record(1, 5), ChangelogRecord(2, b"b", b"junk")], 2)

    assert folded_of(store) == 5
    assert (applied.stale, applied.outdated) == ({}, {b"b"})


async def test_apply_of_another_fold_version_asks_for_a_refold(store: SessionStore) -> None:
    """Values of another version are not read. Mutant: the version not compared: the old value is stored."""
    old = ChangelogRecord(0, KEY, of_version(session_value("s1", 5), FOLD_VERSION + 1))
    applied = store.apply(0, [old], 0)

    assert (folded_of(store), applied.outdated) == (None, {KEY})


async def test_apply_of_a_late_record_of_another_fold_version_keeps_ours(store: SessionStore) -> None:
    """An old worker that woke up: ours is as new, and is sent again. Mutant: ``outdated`` in any case."""
    late = ChangelogRecord(1, KEY, of_version(session_value("s1", 4), FOLD_VERSION + 1))
    applied = store.apply(0, [record(0, 5), late], 1)

    assert (folded_of(store), applied.stale, applied.outdated) == (5, {KEY: 4}, set())


async def test_faust_s_own_write_paths_are_refused(store: SessionStore) -> None:
    """F3, F20: the projector is the only writer. Mutant: ``_set`` inherited: a value without a changelog record."""
    with pytest.raises(StoreError):
        store._set(KEY, session_value())
    with pytest.raises(StoreError):
        store._del(KEY)
    with pytest.raises(StoreError):
        store.apply_changelog_batch([], None, None)


async def test_partitions_share_one_block_cache(tmp_path: Path) -> None:
    """F19: memory does not grow with partitions. Mutant: the cache made in ``open``: the second one's is empty."""
    rocksdb = RocksDB(StoreOptions(block_cache_bytes=256 * 1024))
    used, idle = rocksdb.open(tmp_path / "0.db"), rocksdb.open(tmp_path / "1.db")
    for key in range(2000):
        used[b"%d" % key] = b"x" * 500
    used.flush()
    for key in range(2000):
        assert used[b"%d" % key]
    usage = [database.property_int_value("rocksdb.block-cache-usage") for database in (used, idle)]
    used.close()
    idle.close()

    assert usage[0] == usage[1] > 100 * 1024
    assert usage[0] <= 512 * 1024


async def test_options_given_by_faust_are_not_changed(tmp_path: Path) -> None:
    """T3: Faust pops from the mapping it is given. Mutant: ``dict(options)`` left out."""
    store = make_store(tmp_path, options=StoreOptions(write_buffer_bytes=1 << 20))

    assert store.table.options == {"store_options": StoreOptions(write_buffer_bytes=1 << 20)}


def damage(path: Path) -> None:
    """Overwrite every table file's blocks, as a bad disk does; the databases still open."""
    files = list(path.glob("*.sst"))
    assert files
    for file in files:
        size = file.stat().st_size
        with file.open("r+b") as handle:
            handle.write(b"\xff" * min(1024, size // 2))


async def test_read_of_damaged_blocks_marks_the_partition_for_recovery(store: SessionStore, tmp_path: Path) -> None:
    """RocksDB finds damage only where it reads, long after recovery. Mutant: ``_damaged`` without its mark."""
    store.write(0, {b"s%d" % n: session_value(f"s{n}", n) * 20 for n in range(500)}, 1)
    database = store._db_for_partition(0)
    database.flush()
    store.own({1})
    damage(Path(store.partition_path(0)))
    store.own({0, 1})

    def read_all() -> None:
        for number in range(500):
            store.read(0, b"s%d" % number)

    with pytest.raises(CorruptStoreError) as caught:
        read_all()

    assert caught.value.partition == 0
    assert store.is_marked_corrupt(0)
    store.wipe_partition(0)
    assert (store.is_marked_corrupt(0), store.position(0)) == (False, -1)


async def test_own_with_one_corrupt_database_opens_the_others(store: SessionStore, tmp_path: Path) -> None:
    """Only the damaged one is recovered from the beginning. Mutant: ``raise`` at the first."""
    store.own(set())
    (Path(store.partition_path(0)) / "CURRENT").write_text("nonsense\n")

    with pytest.raises(StoreError):
        store.own({0, 1})

    assert store.opened() == frozenset({1})


def test_read_only_open_beside_a_writer_is_possible(tmp_path: Path) -> None:
    """The audit reads tables of running workers."""
    rocksdb = RocksDB(StoreOptions())
    writer = rocksdb.open(tmp_path / "a.db")
    writer[KEY] = b"value"
    reader = rocksdict.Rdict(
        str(tmp_path / "a.db"), options=rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only()
    )

    assert reader[KEY] == b"value"
    reader.close()
    writer.close()
