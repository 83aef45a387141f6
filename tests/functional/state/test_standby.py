"""Copies of other workers' partitions: kept by tailing, promoted with the tail alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from state.recovery import Recovered, Recovery
from state.standby import Standbys
from state.store import ChangelogRecord, SessionStore
from state.value import header_of
from tests.functional.state.stores import PARTITION_KEY, ChangelogInMemory, make_store, partition_value, session_value
from tests.support.waiting import eventually

OPENED = (PARTITION_KEY, partition_value(0))


class GrowingChangelog(ChangelogInMemory):
    """A changelog that can be written to while it is followed."""

    def __init__(self, *partitions: int) -> None:
        super().__init__({partition: [OPENED] for partition in partitions or (0,)})
        #: The last offset handed out, by partition.
        self.told: dict[int, int] = {}

    def write(self, folded: int, *, key: bytes = b"s1", partition: int = 0) -> int:
        """Append a session's value; returns its offset."""
        offset = len(self.records[partition])
        self.records[partition].append(ChangelogRecord(offset, key, session_value(key.decode(), folded)))
        return offset

    def tail(self, first: Mapping[int, int], stop: Event) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
        """As the reader's, two records at a time."""
        next_offsets = dict(first)
        while not stop.is_set():
            for partition, start in next_offsets.items():
                batch = self.records[partition][start : start + self.batch]
                if batch:
                    next_offsets[partition] = batch[-1].offset + 1
                    yield partition, batch, len(self.records[partition])
                    self.told[partition] = batch[-1].offset
            stop.wait(0.002)

    def is_followed_to_the_end(self) -> bool:
        """Whether all that is written was handed out, and applied."""
        return all(self.told.get(partition) == len(records) - 1 for partition, records in self.records.items())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    """Give a store that owns nothing yet."""
    made = make_store(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
async def changelog() -> GrowingChangelog:
    """Give a changelog of one partition that was opened."""
    return GrowingChangelog()


@pytest.fixture
async def standbys(store: SessionStore, changelog: GrowingChangelog) -> AsyncIterator[Standbys]:
    """Give standbys over both; released at the end."""
    made = Standbys(store, changelog)  # type: ignore[arg-type]
    yield made
    await made.release()


async def promote(store: SessionStore, changelog: Any, standbys: Standbys) -> Recovered:
    """Let partition 0 become owned, as a rebalance does."""
    await standbys.release()
    return await Recovery(store, changelog, deadline_s=60).run({0}, {0})


def folded_of(store: SessionStore, key: bytes = b"s1") -> int | None:
    """How far the stored value is folded."""
    raw = store.read(0, key)
    return header_of(raw).folded if raw is not None else None


async def test_promotion_reads_only_the_tail(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """Of 201 records the takeover reads the one that came last. Mutant: ``position`` not written in ``_tail``."""
    standbys.follow({0})
    for folded in range(1, 200):
        changelog.write(folded)
    await eventually(changelog.is_followed_to_the_end)
    await standbys.release()
    changelog.write(300)
    recovered = await promote(store, changelog, standbys)

    assert (standbys.records, recovered.records) == (200, 1)
    assert (folded_of(store), store.position(0), recovered.refold) == (300, 200, set())


async def test_lag_is_what_the_copy_lacks(store: SessionStore, changelog: GrowingChangelog, standbys: Standbys) -> None:
    """For metrics: by partition, 0 when it has caught up. Mutant: ``lag`` not moved in ``_tail``."""
    for folded in range(1, 8):
        changelog.write(folded)
    lags: list[int] = []
    apply = store.apply

    def noting(*args: Any) -> Any:
        lags.append(standbys.lag[0])
        return apply(*args)

    store.apply = noting  # type: ignore[method-assign]
    standbys.follow({0})
    await eventually(changelog.is_followed_to_the_end)

    assert (standbys.partitions, standbys.lag) == ({0}, {0: 0})
    assert lags == [8, 6, 4, 2]
    await standbys.release()
    assert standbys.lag == {}


async def test_partition_owned_in_mid_batch_has_one_writer(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """Recovery begins when the standby's batch is done, and goes on behind it.

    Mutant: ``release`` does not wait: both write, and the position falls back behind recovery's.
    """
    for folded in range(1, 6):
        changelog.write(folded)
    in_batch, go_on = Event(), Event()
    apply, writers = store.apply, []

    def slow(partition: int, records: list[ChangelogRecord], position: int | None) -> Any:
        writers.append(threading.get_ident())
        if len(writers) == 1:
            in_batch.set()
            assert go_on.wait(60)
        return apply(partition, records, position)

    store.apply = slow  # type: ignore[method-assign, assignment]
    standbys.follow({0})
    await eventually(in_batch.is_set)
    threading.Timer(0.05, go_on.set).start()
    recovered = await promote(store, changelog, standbys)

    assert go_on.is_set()
    assert (standbys.records, recovered.records) == (2, 4)
    assert (folded_of(store), store.position(0)) == (5, 5)


async def test_a_zombie_s_late_record_is_met_again_by_the_promoted(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """S2: the copy keeps the newer value, and its position stays before the older record.

    So the next owner sends the value again, also after a crash in between. Mutant: ``Unsettled.position`` returns
    ``next_offset - 1``: nobody hears of it, and compaction loses the value.
    """
    changelog.write(9)
    standbys.follow({0})
    await eventually(changelog.is_followed_to_the_end)
    late = changelog.write(3)
    changelog.write(1, key=b"s2")
    await eventually(changelog.is_followed_to_the_end)
    await standbys.release()
    store.own(set())  # the process ends; what it had in memory is gone
    recovered = await promote(store, changelog, Standbys(store, changelog))  # type: ignore[arg-type]

    assert recovered.stale == {0: {b"s1": 3}}
    assert (recovered.records, folded_of(store), store.position(0)) == (2, 9, late - 1)


async def test_a_zombie_s_record_that_the_owner_repaired_holds_nothing_back(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """Mutant: ``seen`` keys are not forgotten in ``Unsettled``: the position stays for ever."""
    changelog.write(9)
    changelog.write(3)
    standbys.follow({0})
    await eventually(changelog.is_followed_to_the_end)
    end = changelog.write(9)
    await eventually(changelog.is_followed_to_the_end)
    await standbys.release()
    recovered = await promote(store, changelog, standbys)

    assert (recovered.records, recovered.stale, store.position(0)) == (0, {}, end)


async def test_a_damaged_copy_is_made_anew(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """A copy is never worth a worker. Mutant: ``CorruptStoreError`` not caught: the copy stands still."""
    changelog.write(1)
    apply, damages = store.apply, [True]

    def damaged_once(partition: int, records: list[ChangelogRecord], position: int | None) -> Any:
        if damages.pop() if damages else False:
            raise store._damaged(partition, Exception("Corruption: bad block"))
        return apply(partition, records, position)

    store.apply = damaged_once  # type: ignore[method-assign, assignment]
    standbys.follow({0})
    await eventually(lambda: standbys.records == 2)
    await standbys.release()

    assert not store.is_marked_corrupt(0)
    assert (await promote(store, changelog, standbys)).records == 0


async def test_a_copy_that_cannot_be_opened_is_made_anew(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys
) -> None:
    """As an owned one. Mutant: ``follow`` called by itself: the copy stands still for ever."""
    changelog.write(1)
    standbys.follow({0})
    await eventually(changelog.is_followed_to_the_end)
    await standbys.release()
    store.own(set())
    (store.partition_path(0) / "CURRENT").write_text("nonsense\n")
    standbys.follow({0})
    await eventually(lambda: standbys.records == 4)

    assert (await promote(store, changelog, standbys)).records == 0


async def test_owned_and_followed_partitions_open_beside_each_other(store: SessionStore) -> None:
    """F18: a partition that changes its role keeps its handle, and what is neither is closed.

    Mutant: ``own`` closes what it is to own: reopening races with the lock.
    """
    changelog = GrowingChangelog(0, 1, 2)
    standbys = Standbys(store, changelog)  # type: ignore[arg-type]
    await Recovery(store, changelog, deadline_s=60).run({0}, {0})  # type: ignore[arg-type]
    standbys.follow({1, 2})
    await eventually(lambda: standbys.records == 2)
    handle = store._dbs[1]
    await standbys.release()
    recovered = await Recovery(store, changelog, deadline_s=60).run({0, 1}, {1})  # type: ignore[arg-type]

    assert store._dbs[1] is handle
    assert (store.opened(), store.on_disk(), recovered.records) == ({0, 1}, {0, 1, 2}, 0)


async def test_release_that_is_cancelled_leaves_no_second_writer(
    store: SessionStore, changelog: GrowingChangelog, standbys: Standbys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer rebalance cancels the release while the thread works: the next release waits for the same thread.

    Mutant: the thread is forgotten before it has ended.
    """
    inside, go_on = threading.Event(), threading.Event()
    apply = store.apply

    def slow(*args: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return apply(*args)

    monkeypatch.setattr(store, "apply", slow)
    changelog.write(7)
    standbys.follow({0})
    await eventually(inside.is_set)
    cancelled = asyncio.create_task(standbys.release())
    await asyncio.sleep(0.01)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    again = asyncio.create_task(standbys.release())
    await asyncio.sleep(0.05)
    assert not again.done()
    go_on.set()
    await asyncio.wait_for(again, 60)


async def test_closed_standbys_follow_nothing_more(store: SessionStore, standbys: Standbys) -> None:
    """A rebalance that is settled behind the worker's end begins no thread."""
    await standbys.close()
    standbys.follow({0})
    assert standbys.partitions == frozenset()
    assert store.opened() == frozenset()
