"""Pages of dead letters over a topic in memory: complete, in order, and no more is read than they need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.dead_letters import Position
from barnabas.gateway import letter_pages
from barnabas.gateway.letter_pages import PREVIEW_BYTES, LetterPages, Question, ShownLetter, read_page
from barnabas.gateway.paging import Place
from schemas.dead_letters import DeadLetter, DeadLetterRecord, DeadLetterResolved, Resolution
from tests.support.waiting import eventually


class Topic:
    """Records by partition and offset; what is not there was none of ours."""

    def __init__(self, partitions: int, first: int = 0) -> None:
        self.first = first
        self.log: list[list[DeadLetterRecord | None]] = [[None] * first for _ in range(partitions)]
        self.read = 0

    def put(self, partition: int, time: int, cause: str = "x", value: bytes = b"") -> None:
        """Put a letter aside."""
        letter = DeadLetter(
            topic="t", partition=0, offset=0, cause=cause, detail="", occurred_at=time, value=value, key=b"k"
        )
        self.log[partition].append(letter)

    def resolve(self, partition: int, offset: int, by: str = "me") -> None:
        """Note what was done."""
        done = DeadLetterResolved(
            partition=partition, offset=offset, how=Resolution.DROPPED, by=by, occurred_at=0, published_to=None
        )
        self.log[partition].append(done)

    def bounds(self) -> dict[int, tuple[int, int]]:
        """As a log's."""
        return {number: (self.first, len(records)) for number, records in enumerate(self.log)}

    def between(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[tuple[Position, DeadLetterRecord]]:
        """As a log's."""
        for number, (first, end) in spans.items():
            assert self.first <= first < end <= len(self.log[number])
            for offset in range(first, end):
                self.read += 1
                record = self.log[number][offset]
                if record is not None:
                    yield Position(number, offset), record


def naive(topic: Topic, question: Question) -> list[tuple[int, int, str | None]]:
    """What all pages together are to hold: by reading everything, in order."""
    done = {
        Position(record.partition, record.offset): record.by
        for records in topic.log
        for record in records
        if isinstance(record, DeadLetterResolved)
    }
    letters = [
        (record.occurred_at, Position(number, offset))
        for number, records in enumerate(topic.log)
        for offset, record in enumerate(records)
        if isinstance(record, DeadLetter)
        and question.cause in {None, record.cause}
        and (question.with_resolved or Position(number, offset) not in done)
    ]
    return [(*position, done.get(position)) for _, position in sorted(letters, reverse=True)]


def all_pages(topic: Topic, question: Question) -> list[ShownLetter]:
    """Read page by page."""
    found: list[ShownLetter] = []
    while True:
        page = read_page(topic, question)
        assert len(page.letters) <= question.limit
        found += page.letters
        if page.following is None:
            return found
        assert page.letters
        question = question._replace(behind=page.following)


@given(
    records=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("lllrn"), st.integers(0, 40), st.integers(-3, 3)), max_size=120
    ),
    first=st.sampled_from([0, 7]),
    limit=st.integers(1, 7),
    cause=st.sampled_from([None, "x", "y"]),
    with_resolved=st.booleans(),
)
def test_pages_hold_every_letter_once_in_order(
    records: list[tuple[int, str, int, int]], first: int, limit: int, cause: str | None, *, with_resolved: bool
) -> None:
    """Three partitions whose owners' clocks differ, letters dealt with once or more, and records that are none."""
    topic = Topic(3, first)
    for number, (partition, kind, what, skew) in enumerate(records):
        offset = len(topic.log[partition])
        if kind == "l":
            topic.put(partition, 1000 * number + 1000 * skew, "xy"[what % 2])
        elif kind == "r" and offset > first:
            topic.resolve(partition, first + what % (offset - first), by=str(number))
        else:
            topic.log[partition].append(None)
    question = Question(limit, cause=cause, with_resolved=with_resolved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letter_pages, "_FIRST", 2)
        patch.setattr(letter_pages, "_MOST", 5)
        found = all_pages(topic, question)
    told = [(*shown.position, None if shown.resolved is None else shown.resolved.by) for shown in found]
    assert told == naive(topic, question)


def test_page_costs_about_a_page() -> None:
    """Of a topic with very many letters. Fails where all of it is read."""
    topic = Topic(4)
    for number in range(40_000):
        topic.put(number % 4, 1000 * number)
    page = read_page(topic, Question(50))
    assert [shown.letter.occurred_at for shown in page.letters] == [1000 * n for n in range(39_999, 39_949, -1)]
    assert page.following == Place(39_950_000, "00002.00000000000000009987")
    assert topic.read <= 4 * letter_pages._FIRST


def test_partition_without_letters_of_late_is_read_no_further_than_it_may_matter() -> None:
    """Only the one where they lie."""
    topic = Topic(2)
    for number in range(2000):
        topic.put(0, number)
    for number in range(2000):
        topic.put(1, 10_000_000 + 1000 * number)
    read_page(topic, Question(100))
    assert topic.read < 1000  # of 4000


def test_large_values_are_not_kept() -> None:
    """Their beginning and their length are."""
    topic = Topic(1)
    topic.put(0, 1, value=b"v" * 1_000_000)
    ((shown,), _) = read_page(topic, Question(1))
    assert (len(shown.letter.value or b""), shown.value_bytes, shown.letter.key) == (PREVIEW_BYTES, 1_000_000, None)


async def test_those_who_ask_the_same_share_a_reading_and_keep_no_other_thread_busy() -> None:
    """One thread reads, whatever is asked; those of the process are free. Fails with ``asyncio.to_thread``."""
    may, began = threading.Event(), threading.Event()

    class SlowTopic(Topic):
        readings = 0

        def bounds(self) -> dict[int, tuple[int, int]]:
            SlowTopic.readings += 1
            began.set()
            assert may.wait(60)
            return super().bounds()

    topic = SlowTopic(1)
    topic.put(0, 1)
    pages = LetterPages(topic)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as default:
        loop.set_default_executor(default)
        asked = [asyncio.create_task(pages.page(Question(limit))) for limit in (1, 1, 2, 1)]
        try:
            await eventually(began.is_set, 60)
            assert await asyncio.wait_for(asyncio.to_thread(partial(int, 7)), 60) == 7
        finally:
            may.set()
        found = await asyncio.gather(*asked)
    pages.close()
    assert [len(page.letters) for page in found] == [1] * 4
    assert SlowTopic.readings == 2
