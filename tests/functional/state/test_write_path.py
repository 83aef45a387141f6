"""The write path: changelog first, then RocksDB, then the acknowledgement. A real store, a changelog that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from schemas.errors import DeliveryUnknownError, StoreError
from schemas.session import PartitionState, Session
from state import write_path as module
from state.store import ChangelogRecord, SessionStore
from state.value import PARTITION_KEY, header_of
from state.write_path import OnDelivery, WritePath
from tests.functional.state.stores import VALUES, make_store, session_value

KEY = b"s1"


class ObedientChangelog:
    """Takes records and reports their delivery when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes, bytes, OnDelivery]] = []
        self.offset = 0
        self.waiting = 0

    def __call__(self, partition: int, key: bytes, value: bytes, on_delivery: OnDelivery) -> None:
        """Take a record; nothing is reported yet."""
        self.sent.append((partition, key, value, on_delivery))

    @property
    def folded(self) -> list[int]:
        """How far each record sent is folded."""
        return [header_of(value).folded for _, _, value, _ in self.sent]

    def deliver(self, *, skip: int = 0) -> None:
        """Confirm the oldest unreported record; ``skip`` foreign records lie before it."""
        self.offset += skip
        self._next()(None, self.offset)
        self.offset += 1

    def fail(self) -> None:
        """Report the oldest unreported record as unknown."""
        self._next()(DeliveryUnknownError("timed out"), -1)

    def _next(self) -> OnDelivery:
        self.waiting += 1
        return self.sent[self.waiting - 1][3]


class Bench:
    """A write path, its store, its changelog, and what it reported."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.changelog = ObedientChangelog()
        self.holes: list[tuple[int, int]] = []
        self.failures: list[StoreError] = []
        self.receipts: list[str] = []
        self.path = WritePath(
            store,
            VALUES,
            self.changelog,
            on_foreign_record=lambda p, o: self.holes.append((p, o)),
            on_store_failure=self.failures.append,
        )
        self.path.open_partition(0)

    def put(self, folded: int, *, urgent: bool = True, key: bytes = KEY, flush: bool = True) -> None:
        """Fold a session up to an offset."""
        session = Session(session_id=key.decode(), folded=folded, epoch=0)
        self.path.put(0, key, session, lambda: self.receipts.append(f"{key.decode()}@{folded}"), urgent=urgent)
        if flush:
            self.path.flush(0)

    def stored(self, key: bytes = KEY) -> int | None:
        """How far RocksDB's value is folded."""
        raw = self.store.read(0, key)
        return header_of(raw).folded if raw is not None else None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Give a write path over partition 0 of a real store."""
    store = make_store(tmp_path)
    store.own({0})
    made = Bench(store)
    yield made
    made.path.flush_all()  # ends the lazy timer
    await store.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- what is awaited has no event
            await asyncio.sleep(0.001)


async def settle() -> None:
    """Let what is due at once happen."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_put_writes_the_changelog_first_then_rocksdb_then_acknowledges(bench: Bench) -> None:
    """T1: RocksDB is never ahead of the changelog. Mutant: ``store.write`` in ``put``; receipts before ``write``."""
    bench.put(5)
    await settle()
    assert (bench.changelog.folded, bench.stored(), bench.receipts) == ([5], None, [])
    assert bench.path.load(0, KEY).folded == 5  # reads go to the overlay first

    bench.changelog.deliver()
    assert bench.receipts == []  # confirmed, not yet in RocksDB
    await settle()

    assert (bench.stored(), bench.receipts, bench.store.position(0)) == (5, ["s1@5"], 0)
    assert bench.path.unconfirmed == 0


async def test_receipts_find_their_value_in_rocksdb(bench: Bench) -> None:
    """What is acknowledged is there. Mutant: receipts called before ``store.write`` in ``_settle``."""
    seen: list[int | None] = []
    bench.path.put(0, KEY, Session(session_id="s1", folded=3), lambda: seen.append(bench.stored()), urgent=True)
    bench.path.flush(0)
    bench.changelog.deliver()
    await settle()

    assert seen == [3]


async def test_delivery_error_sends_the_newest_value_again_and_acknowledges_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3: a failed changelog send is no log line. Mutants: ``dirty`` not set again; the receipts not kept."""
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    bench.put(5)
    bench.changelog.fail()
    await until(lambda: len(bench.changelog.sent) == 2)
    bench.put(6, urgent=False, flush=False)
    bench.changelog.fail()
    await until(lambda: len(bench.changelog.sent) == 3)
    assert (bench.changelog.folded, bench.stored(), bench.receipts) == ([5, 5, 6], None, [])

    bench.changelog.deliver()
    await settle()

    assert (bench.stored(), sorted(bench.receipts)) == (6, ["s1@5", "s1@6"])


async def test_late_delivery_after_close_changes_nothing(bench: Bench) -> None:
    """T2, F12: a revoked partition's delivery writes no value and no offset, and acknowledges nothing.

    Mutants: the overlay not popped in ``close_partition``: the value is written; ``overlay.closed`` not asked: a hole
    is reported that the next ownership has to judge for itself.
    """
    bench.put(5)
    bench.path.close_partition(0)
    bench.path.open_partition(0)
    bench.changelog.deliver(skip=1)
    await settle()

    assert (bench.stored(), bench.store.position(0), bench.receipts, bench.holes) == (None, -1, [], [])


async def test_delivery_between_close_and_loss_of_the_store_reopens_nothing(bench: Bench) -> None:
    """T2: the revoked RocksDB stays closed.

    Mutants, together (each stands in for the other): the overlay not popped, ``overlay.closed`` not asked.
    """
    bench.put(5)
    bench.path.close_partition(0)
    bench.store.own(set())
    bench.changelog.deliver()
    await settle()

    assert bench.store.opened() == frozenset()


async def test_flush_sends_urgent_values_now_and_others_soon(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running turn's value waits for its next one. Mutant: ``LAZY_FLUSH_S`` not used: two records a turn."""
    monkeypatch.setattr(module, "LAZY_FLUSH_S", 0.005)
    bench.put(5, urgent=False)
    assert bench.changelog.sent == []
    bench.put(6, urgent=True)
    assert bench.changelog.folded == [6]
    bench.put(7, urgent=False)

    await until(lambda: bench.changelog.folded == [6, 7])


async def test_values_overtaken_before_they_are_sent_share_one_record(bench: Bench) -> None:
    """Both events are acknowledged by the one record that holds both."""
    bench.put(5, urgent=False)
    bench.put(6, urgent=True)
    bench.changelog.deliver()
    await settle()

    assert bench.changelog.folded == [6]
    assert bench.receipts == ["s1@5", "s1@6"]


async def test_value_put_while_its_predecessor_is_under_way_stays_readable(bench: Bench) -> None:
    """Mutant: the entry dropped at the first delivery: ``load`` answers with the older value."""
    bench.put(5)
    bench.put(6)
    bench.changelog.deliver()
    await settle()
    assert (bench.path.load(0, KEY).folded, bench.path.unconfirmed) == (6, 1)

    bench.changelog.deliver()
    await settle()

    assert (bench.stored(), bench.path.unconfirmed, bench.receipts) == (6, 0, ["s1@5", "s1@6"])


async def test_when_confirmed_waits_for_the_newest_value(bench: Bench) -> None:
    """A repeated event is acknowledged only when its session is safe. Mutant: the receipt called at once."""
    bench.put(5)
    bench.path.when_confirmed(0, KEY, lambda: bench.receipts.append("repeat"))
    assert bench.receipts == []
    bench.path.flush(0)
    bench.changelog.deliver()
    bench.changelog.deliver()
    await settle()
    assert bench.receipts == ["s1@5", "repeat"]

    bench.path.when_confirmed(0, KEY, lambda: bench.receipts.append("at once"))

    assert bench.receipts[-1] == "at once"


async def test_foreign_record_freezes_the_position_and_is_reported_once(bench: Bench) -> None:
    """S2: the persisted offset never jumps over a foreign record. Mutant: ``overlay.position`` written when frozen."""
    bench.put(5)
    bench.changelog.deliver()
    await settle()
    bench.put(6)
    bench.changelog.deliver(skip=1)
    bench.put(7)
    bench.changelog.deliver()
    await settle()

    assert bench.holes == [(0, 1)]
    assert (bench.stored(), bench.store.position(0)) == (7, 0)
    assert len(bench.receipts) == 3  # the values are safe all the same


async def test_resend_of_a_key_whose_foreign_record_is_older_sends_the_table_s_value(bench: Bench) -> None:
    """S2: compaction must not keep the zombie's. Mutant: ``>=``: a record as new is sent again for ever."""
    bench.store.write(0, {KEY: session_value("s1", 5)}, 3)
    bench.path.resend(0, KEY, 5)
    assert bench.changelog.sent == []

    bench.path.resend(0, KEY, 4)

    assert bench.changelog.folded == [5]


async def test_resend_whose_delivery_fails_is_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2 again: the repair itself may time out. Mutant: the ``else`` of ``_delivered``'s error branch removed."""
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    bench.store.write(0, {KEY: session_value("s1", 5)}, 3)
    bench.path.resend(0, KEY, 4)
    bench.changelog.fail()

    await until(lambda: bench.changelog.folded == [5, 5])


async def test_resend_of_a_value_under_way_sends_the_overlay_s(bench: Bench) -> None:
    """The newest there is, not what RocksDB still holds."""
    bench.store.write(0, {KEY: session_value("s1", 5)}, 3)
    bench.put(6, urgent=False, flush=False)

    bench.path.resend(0, KEY, 4)

    assert bench.changelog.folded == [6]


async def test_open_partition_continues_with_the_partition_s_own_record(bench: Bench) -> None:
    """The epochs survive in the table, beside the sessions."""
    state = PartitionState(partition=0, folded=9, epochs=(4, 9), owner="w")
    bench.path.put(0, PARTITION_KEY, state, lambda: None, urgent=True)
    bench.path.flush(0)
    bench.changelog.deliver()
    await settle()
    bench.path.close_partition(0)

    assert bench.path.open_partition(0) == state


async def test_open_partition_reads_what_recovery_left_not_what_was_known_before(bench: Bench) -> None:
    """Another owner went on meanwhile. Mutant: decoded values kept over ``close_partition``."""
    bench.put(5)
    bench.changelog.deliver()
    await settle()
    assert bench.path.load(0, KEY).folded == 5
    bench.path.close_partition(0)
    bench.store.apply(0, [ChangelogRecord(7, KEY, session_value("s1", 9))], 7)
    bench.path.open_partition(0)

    assert bench.path.load(0, KEY).folded == 9


async def test_many_keys_in_one_settlement_are_one_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load RocksDB gets one batch for many deliveries, with the last position. Mutant: a write a delivery."""
    batches: list[tuple[int, int | None]] = []
    write = bench.store.write

    def counted(partition: int, values: dict[bytes, bytes], position: int | None) -> None:
        batches.append((len(values), position))
        write(partition, values, position)

    monkeypatch.setattr(bench.store, "write", counted)
    for number in range(10):
        bench.put(number, key=b"k%d" % number)
    for _ in range(10):
        bench.changelog.deliver()
    await settle()

    assert batches == [(10, 9)]


async def test_store_that_cannot_be_written_is_reported_and_acknowledges_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the worker is told to end. Mutant: ``_settle`` without its ``except``."""

    def refuse(*_args: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(bench.store, "write", refuse)
    bench.put(1)
    bench.changelog.deliver()
    await settle()
    assert [str(error) for error in bench.failures] == ["no space left on device"]
    assert bench.receipts == []


async def test_failed_outage_of_many_records_one_retry_that_waits_longer_each_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred records that fail are tried again together, not once for each. Mutant: a timer a record."""
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    monkeypatch.setattr(module, "MAX_RETRY_S", 0.004)
    bench.path._retry_s = 0.001
    flushes, flush_all = [], bench.path.flush_all
    monkeypatch.setattr(bench.path, "flush_all", lambda: flushes.append(bench.path._retry_s) or flush_all())
    for number in range(100):
        bench.put(5, key=f"s{number}".encode())
    for rounds in range(1, 5):
        for _ in range(100):
            bench.changelog.fail()
        await until(lambda: len(flushes) == rounds)  # noqa: B023 -- called at once
    assert flushes == [0.002, 0.004, 0.004, 0.004]
    assert len(bench.changelog.sent) == 500
    bench.changelog.deliver()
    assert bench.path._retry_s == 0.001


async def test_failed_nothing_may_be_written_nothing_is_encoded_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the lease is over each attempt would fail at once; afterwards all is sent, a foreign key's value too."""
    may_write = False
    monkeypatch.setattr(bench.path, "_may_write", lambda: may_write)
    monkeypatch.setattr(module, "MAX_RETRY_S", 0.001)
    bench.path._retry_s = 0.001
    bench.store.write(0, {b"s2": session_value("s2", folded=7)}, 0)
    bench.put(5)
    bench.path.resend(0, b"s2", 1)
    bench.changelog.fail()
    bench.changelog.fail()
    await asyncio.sleep(0.05)
    assert len(bench.changelog.sent) == 2
    may_write = True
    await until(lambda: len(bench.changelog.sent) == 4)
    assert sorted(bench.changelog.folded[2:]) == [5, 7]


async def test_closed_nothing_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition that went leaves no timer behind that comes for ever."""
    monkeypatch.setattr(bench.path, "_may_write", lambda: False)
    bench.path._retry_s = 0.001
    bench.put(5)
    bench.changelog.fail()
    bench.path.close_partition(0)
    await until(lambda: bench.path._retry_timer is None)
    assert len(bench.changelog.sent) == 1


async def test_resend_store_that_cannot_be_read_is_reported_and_the_rest_is_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair's key whose value cannot be read ends the worker; it loses no other. Mutant: ``resend`` raises."""
    monkeypatch.setattr(module, "RETRY_S", 0.001)
    bench.path._retry_s = 0.001
    for key in (b"s2", b"s3"):
        bench.store.write(0, {key: session_value(key.decode(), 5)}, 3)
        bench.path.resend(0, key, 4)
    bench.put(6)
    read = bench.store.read

    def damaged(partition: int, key: bytes) -> bytes | None:
        if key == b"s2":
            raise StoreError("damaged")
        return read(partition, key)

    monkeypatch.setattr(bench.store, "read", damaged)
    for _ in range(3):
        bench.changelog.fail()
    await until(lambda: len(bench.changelog.sent) == 5)
    assert {key for _, key, _, _ in bench.changelog.sent[3:]} == {KEY, b"s3"}
    assert [str(error) for error in bench.failures] == ["damaged"]

    monkeypatch.setattr(bench.store, "read", read)
    bench.changelog.fail()
    await until(lambda: len(bench.changelog.sent) == 7)
    assert bench.path._resends == {}
