"""Recovery into a real store, from a changelog that holds what a test says."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import state.recovery
from schemas.errors import RecoveryError, StoreError
from state.fold import FOLD_VERSION
from state.local_copy import MAX_STORE_AGE_S
from state.recovery import Recovered, Recovery
from state.store import SessionStore
from state.value import PARTITION_KEY, header_of
from tests.functional.state.stores import (
    ChangelogInMemory,
    make_store,
    of_version,
    partition_value,
    session_value,
)

OPENED = (PARTITION_KEY, partition_value(0))


def sessions(*folded: int, key: bytes = b"s1") -> list[tuple[bytes, bytes | None]]:
    """Changelog records of one session."""
    return [(key, session_value(key.decode(), offset)) for offset in folded]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    """Give a store that owns nothing yet."""
    made = make_store(tmp_path)
    yield made
    await made.stop()


async def recover(store: SessionStore, changelog: Any, owned: set[int], fresh: set[int] | None = None) -> Recovered:
    """Recover partitions."""
    return await Recovery(store, changelog, deadline_s=60).run(owned, owned if fresh is None else fresh)


def folded_of(store: SessionStore, partition: int = 0, key: bytes = b"s1") -> int | None:
    """How far the stored value is folded."""
    raw = store.read(partition, key)
    return header_of(raw).folded if raw is not None else None


async def test_recovery_from_an_empty_directory_reads_all(store: SessionStore) -> None:
    """Everything of every partition, and the position at the end."""
    changelog = ChangelogInMemory({0: [OPENED, *sessions(1, 2, 3)], 1: [OPENED]})
    recovered = await recover(store, changelog, {0, 1})

    assert (recovered.records, recovered.refold, recovered.stale) == (5, set(), {0: {}, 1: {}})
    assert (folded_of(store), store.position(0), store.position(1)) == (3, 3, 0)


async def test_recovery_of_kept_partitions_reads_nothing(store: SessionStore) -> None:
    """A partition kept over a rebalance goes on as it is. Mutant: ``owned`` read in place of ``fresh``."""
    changelog = ChangelogInMemory({0: [OPENED], 1: [OPENED]})
    await recover(store, changelog, {0, 1})
    await recover(store, changelog, {0, 1}, fresh={1})

    assert [set(read) for read in changelog.reads] == [{0, 1}, {1}]


async def test_recovery_reports_stale_keys_over_batches(store: SessionStore) -> None:
    """S2: only keys whose last record is older than the table. Mutant: ``_note`` without its first loop."""
    changelog = ChangelogInMemory(
        {0: [OPENED, *sessions(5, 4), *sessions(5, 4, 6, key=b"s2"), *sessions(1, key=b"s3")]}
    )
    changelog.batch = 1
    recovered = await recover(store, changelog, {0})

    assert recovered.stale == {0: {b"s1": 4}}
    assert (folded_of(store), folded_of(store, key=b"s2")) == (5, 6)


async def test_recovery_of_a_changelog_shorter_than_the_store_wipes_it(store: SessionStore) -> None:
    """The topic was made anew. Mutant: ``position >= end`` not asked: the old topic's sessions stay."""
    await recover(store, ChangelogInMemory({0: [OPENED, *sessions(1, 2, 3)]}), {0})
    recovered = await recover(store, ChangelogInMemory({0: sessions(1, key=b"s2")}), {0})

    assert folded_of(store) is None
    assert (folded_of(store, key=b"s2"), store.position(0), recovered.refold) == (1, 0, {0})


async def test_recovery_without_the_partition_s_record_asks_for_a_refold(store: SessionStore) -> None:
    """A changelog that lost everything. Mutant: ``PARTITION_KEY`` not asked for: epochs and sessions are missing."""
    changelog = ChangelogInMemory()
    changelog.ends[0] = 7
    recovered = await recover(store, changelog, {0})

    assert (recovered.refold, store.position(0)) == ({0}, 6)


async def test_recovery_of_values_of_another_fold_version_asks_for_a_refold(store: SessionStore) -> None:
    """The log is the truth, not an old value. Mutant: ``outdated`` not reported."""
    old = of_version(session_value("s1", 3), FOLD_VERSION + 1)
    recovered = await recover(store, ChangelogInMemory({0: [OPENED, (b"s1", old)]}), {0})

    assert (recovered.refold, folded_of(store)) == ({0}, None)


async def test_recovery_of_a_tombstone_asks_for_one_refold_not_for_ever(store: SessionStore) -> None:
    """The log may never say that key again. Mutant: ``without`` not called: each start folds the partition again."""
    changelog = ChangelogInMemory({0: [OPENED, (b"s9", None), *sessions(1)]})
    first = await recover(store, changelog, {0})
    second = await recover(store, changelog, {0})

    assert (first.refold, second.refold, store.position(0)) == ({0}, set(), 2)


async def test_recovery_names_stale_keys_again_until_they_are_sent(store: SessionStore) -> None:
    """A crash may come before the key's value is written behind the older one (S2).

    Mutant: ``Unsettled.position`` returns ``next_offset - 1``: the second recovery knows of nothing.
    """
    changelog = ChangelogInMemory({0: [OPENED, *sessions(9, 3)]})
    first = await recover(store, changelog, {0})
    second = await recover(store, changelog, {0})

    assert first.stale == second.stale == {0: {b"s1": 3}}
    assert (store.position(0), folded_of(store)) == (1, 9)


async def test_recovery_over_a_table_of_another_fold_version_wipes_it(store: SessionStore) -> None:
    """Mutant: ``_wipe_if_outdated`` removed: its sessions would be read as they are."""
    store.own({0})
    store.write(0, {PARTITION_KEY: of_version(partition_value(0), FOLD_VERSION + 1), b"s9": session_value("s9")}, 0)
    await recover(store, ChangelogInMemory({0: [OPENED]}), {0})

    assert folded_of(store, key=b"s9") is None


async def test_recovery_of_a_corrupt_database_wipes_it_and_reads_all(store: SessionStore) -> None:
    """Only that one is read from the beginning. Mutant: the ``StoreError`` not caught in ``_open``."""
    changelog = ChangelogInMemory({0: [OPENED, *sessions(1)], 1: [OPENED]})
    await recover(store, changelog, {0, 1})
    store.own(set())
    (Path(store.partition_path(0)) / "CURRENT").write_text("nonsense\n")
    await recover(store, changelog, {0, 1})

    assert (folded_of(store), changelog.reads[-1]) == (1, {0: (0, 2), 1: (1, 1)})


async def test_recovery_that_meets_damage_while_reading_wipes_and_begins_again(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: ``CorruptStoreError`` not caught in ``_run``: the worker dies at every start."""
    changelog = ChangelogInMemory({0: [OPENED, *sessions(1)]})
    store.own({0})
    store.write(0, {b"s9": session_value("s9")}, 0)
    get, damaged = store._get, [True]

    def failing_once(partition: int, database: Any, key: bytes) -> bytes | None:
        if damaged.pop() if damaged else False:
            raise store._damaged(partition, Exception("Corruption: block checksum mismatch"))
        return get(partition, database, key)

    monkeypatch.setattr(store, "_get", failing_once)
    await recover(store, changelog, {0})

    assert (folded_of(store), folded_of(store, key=b"s9"), store.is_marked_corrupt(0)) == (1, None, False)


async def test_recovery_of_a_partition_marked_corrupt_wipes_it(store: SessionStore) -> None:
    """What a running worker found. Mutant: the mark not asked for in ``_wipe_if_old``."""
    store.own({0})
    store.write(0, {b"s9": session_value("s9")}, 0)
    store._damaged(0, Exception("Corruption: bad block"))
    await recover(store, ChangelogInMemory({0: [OPENED]}), {0})

    assert (folded_of(store, key=b"s9"), store.is_marked_corrupt(0)) == (None, False)


async def test_recovery_of_a_store_held_by_another_worker_never_wipes_it(store: SessionStore, tmp_path: Path) -> None:
    """T3: a lock is no corruption. Mutant: ``lock`` not looked for: the other worker's files are deleted."""
    other = make_store(tmp_path)
    other.own({0})
    other.write(0, {b"s9": session_value("s9")}, 3)

    with pytest.raises(StoreError, match=r"(?i)lock"):
        await recover(store, ChangelogInMemory({0: [OPENED]}), {0})

    assert (other.partition_path(0) / "CURRENT").exists()
    await other.stop()


async def test_recovery_of_a_store_older_than_tombstones_wipes_it(store: SessionStore) -> None:
    """It may hold what the broker has forgotten. Mutant: ``_wipe_if_old`` removed."""
    store.own({0})
    store.write(0, {b"s9": session_value("s9")}, 0)
    store.own(set())
    long_ago = time.time() - MAX_STORE_AGE_S - 60
    for entry in os.scandir(store.partition_path(0)):
        os.utime(entry.path, (long_ago, long_ago))
    await recover(store, ChangelogInMemory({0: [OPENED]}), {0})

    assert folded_of(store, key=b"s9") is None


class SilentChangelog(ChangelogInMemory):
    """Gives nothing, until it is stopped or its deadline passes."""

    def __init__(self) -> None:
        super().__init__({0: [OPENED]})
        self.began = Event()
        self.ended = Event()

    def read(self, ranges: Mapping[int, tuple[int, int]], *, deadline_s: float, stop: Event | None = None) -> Any:
        """Wait."""
        assert stop is not None
        self.began.set()
        try:
            if not stop.wait(deadline_s):
                raise RecoveryError("not read within its deadline")
        finally:
            self.ended.set()
        yield from ()


async def test_recovery_beyond_its_deadline_wipes_and_raises(store: SessionStore) -> None:
    """F17: it never hangs, and the next start begins anew. Mutant: the ``except RecoveryError`` removed."""
    store.own({0})
    store.write(0, {b"s9": session_value("s9")}, -1)

    with pytest.raises(RecoveryError):
        await Recovery(store, SilentChangelog(), deadline_s=0.02).run({0}, {0})

    assert folded_of(store, key=b"s9") is None


async def test_recovery_interrupted_by_a_newer_generation_ends_and_claims_nothing(store: SessionStore) -> None:
    """The position is not moved to an end that was not read. Mutant: ``stop.is_set()`` not asked."""
    changelog = SilentChangelog()
    running = asyncio.create_task(Recovery(store, changelog, deadline_s=60).run({0}, {0}))
    await asyncio.to_thread(changelog.began.wait, 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert changelog.ended.is_set()  # its thread is over: the next recovery has the store to itself
    assert store.position(0) == -1


async def test_recovery_does_not_wait_for_the_loops_own_threads(store: SessionStore) -> None:
    """A takeover while they are all taken. Mutant: ``run_in_executor(None, ...)``."""
    free = Event()
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        taken = asyncio.get_running_loop().run_in_executor(None, free.wait)
        running = asyncio.create_task(recover(store, ChangelogInMemory({0: [OPENED, *sessions(1, 2)]}), {0}))
        await asyncio.wait({running}, timeout=60)
        is_recovered = running.done()
        free.set()
        await asyncio.gather(taken, running)
    assert is_recovered
    assert store.position(0) == 2


async def test_recovery_tells_its_progress(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For metrics, and in the log every few seconds: how much of how much. Mutant: ``advance`` logs nothing."""
    monkeypatch.setattr(state.recovery, "LOG_EVERY_S", 0.0)
    changelog = ChangelogInMemory({0: [OPENED, *sessions(1, 2)]})
    recovery = Recovery(store, changelog, deadline_s=60)
    with caplog.at_level(logging.INFO, logger="state.recovery"):
        await recovery.run({0}, {0})

    progress = recovery.progress
    assert (progress.partitions, progress.records_read, progress.records, progress.is_running) == (1, 3, 3, False)
    assert [record.args[1:3] for record in caplog.records if record.msg.startswith("recovering")][-1] == (3, 3)
