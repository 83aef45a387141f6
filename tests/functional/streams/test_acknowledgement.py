"""The tracker and the cursor: what may be committed, and what a delivery is."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.acks import AckTracker
from streams.consumer import SessionConsumer
from streams.delivery import Admission, Cursor, Delivery

TP0 = TP("messages", 0)


def delivery(start: int, *offsets: int) -> Delivery:
    """A run of records that begins at ``start``."""
    return Delivery(TP0, start, [SimpleNamespace(offset=offset) for offset in offsets])  # type: ignore[arg-type]


def test_watermark_nothing_delivered_is_the_position() -> None:
    """A partition begun and untouched commits nothing new."""
    assert AckTracker(7).watermark == 7


def test_watermark_message_in_flight_is_not_passed() -> None:
    """F1: 100 in flight, 101 to 105 done: 100 stays the offset to commit."""
    acks = AckTracker(100)
    for offset in range(100, 106):
        acks.deliver(offset)
    for offset in range(101, 106):
        acks.ack(offset)
    assert acks.watermark == 100
    acks.ack(100)
    assert acks.watermark == 106


def test_watermark_offset_holes_are_stepped_over() -> None:
    """A transactional producer's control records: nobody waits for offset + 1."""
    acks = AckTracker(0)
    for offset in (0, 2, 4):
        acks.deliver(offset)
    acks.ack(0)
    assert acks.watermark == 2
    acks.ack(2)
    acks.ack(4)
    assert acks.watermark == 5


def test_ack_twice_or_unknown_changes_nothing() -> None:
    """S6: an acknowledgement is idempotent."""
    acks = AckTracker(0)
    acks.deliver(0)
    acks.deliver(1)
    acks.ack(1)
    acks.ack(1)
    acks.ack(99)
    assert (acks.watermark, acks.pending) == (0, 1)


@given(st.lists(st.integers(0, 30), unique=True).map(sorted), st.data())
def test_watermark_any_order_of_acks_never_passes_an_open_record(offsets: list[int], data: st.DataObject) -> None:
    """Whatever was delivered, and in whatever order it is done, the oldest open record bounds the commit."""
    acks = AckTracker(0)
    for offset in offsets:
        acks.deliver(offset)
    is_open = set(offsets)
    watermark = 0
    for offset in data.draw(st.permutations(offsets)):
        acks.ack(offset)
        is_open.discard(offset)
        assert acks.watermark == (min(is_open) if is_open else offsets[-1] + 1)
        assert acks.watermark >= watermark
        watermark = acks.watermark


def test_cursor_next_delivery_is_taken() -> None:
    """In order, also with a hole before its first record."""
    cursor = Cursor(5)
    assert cursor.admit(delivery(5, 5, 6)) is Admission.NEXT
    assert cursor.admit(delivery(7, 9)) is Admission.NEXT
    assert cursor.handled == 10


def test_cursor_repeated_delivery_is_refused() -> None:
    """S6: what was handled comes again around a seek."""
    cursor = Cursor(5)
    cursor.admit(delivery(5, 5, 6))
    assert cursor.admit(delivery(5, 5, 6)) is Admission.REPEATED
    assert cursor.handled == 7


def test_cursor_delivery_behind_a_lost_one_is_a_gap() -> None:
    """S1: something before it was dropped; nothing moves."""
    cursor = Cursor(5)
    assert cursor.admit(delivery(7, 7, 8)) is Admission.GAP
    assert cursor.handled == 5


def test_cursor_overlapping_delivery_is_taken_for_its_new_part() -> None:
    """Read again from the middle of a run."""
    cursor = Cursor(5)
    cursor.admit(delivery(5, 5, 6))
    assert cursor.admit(delivery(5, 5, 6, 7)) is Admission.NEXT
    assert cursor.handled == 8


def test_cursor_missing_tail_shows_at_the_second_look() -> None:
    """Fetched, never arrived, and no progress since the last look."""
    cursor = Cursor(5)
    cursor.fetched = 8
    assert not cursor.is_missing_tail()
    assert cursor.is_missing_tail()
    cursor.admit(delivery(5, 5, 6, 7))
    assert not cursor.is_missing_tail()
    assert not cursor.is_missing_tail()


class _Thread:
    """Stands in for the thread that runs aiokafka: refuses or takes commits."""

    def __init__(self) -> None:
        self.takes = False
        self.commits: list[dict[TP, int]] = []

    async def commit(self, offsets: dict[TP, int]) -> bool:
        """Note a commit."""
        self.commits.append(dict(offsets))
        return self.takes


def _consumer() -> Any:
    consumer: Any = SessionConsumer.__new__(SessionConsumer)
    consumer.cursors = {TP0: Cursor(0)}
    consumer._seeks = {}
    consumer._thread = _Thread()
    return consumer


def test_commit_refused_is_not_assumed_and_is_tried_again() -> None:
    """S5: Faust notes an offset as committed even where the commit failed."""
    consumer = _consumer()
    list(consumer.admit(delivery(0, 0, 1)))
    consumer.cursors[TP0].acks.ack(0)
    assert asyncio.run(consumer.commit_done()) is False
    assert consumer.cursors[TP0].committed == 0
    consumer._thread.takes = True
    assert asyncio.run(consumer.commit_done()) is True
    assert consumer._thread.commits == [{TP0: 1}, {TP0: 1}]
    assert asyncio.run(consumer.commit_done()) is True
    assert len(consumer._thread.commits) == 2


def test_ack_of_a_stream_is_no_acknowledgement() -> None:
    """F1, F2, S4: a stream's word changes nothing; only our trackers do."""
    consumer = _consumer()
    list(consumer.admit(delivery(0, 0, 1)))
    assert consumer.ack(SimpleNamespace(tp=TP0, offset=1)) is False
    assert consumer.cursors[TP0].acks.watermark == 0


def test_admit_gap_sends_the_fetch_back() -> None:
    """The delivery is refused, and the partition is read again from what was handled."""
    consumer = _consumer()
    assert list(consumer.admit(delivery(3, 3, 4))) == []
    assert consumer._seeks == {TP0: 0}
    assert [record.offset for record in consumer.admit(delivery(0, 0, 1, 2))] == [0, 1, 2]


def test_missing_tails_position_ahead_is_read_again_once() -> None:
    """Where aiokafka is further than what came out of it: read once more, then taken for control records."""
    consumer = _consumer()
    consumer._channels = lambda _tp: ()
    consumer._read_missing_tails({TP0: 3})
    assert consumer._seeks == {TP0: 0}
    consumer._seeks.clear()
    consumer._read_missing_tails({TP0: 3})
    assert consumer._seeks == {}
    consumer._read_missing_tails({TP0: 5})
    assert consumer._seeks == {TP0: 0}
