"""Pages of dead letters, newest first: read from the end of their topic backwards, as far as a page needs.

What was done with a letter lies behind it in its partition, so it is known by the time the letter is met.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from barnabas.dead_letters import Position
from barnabas.gateway.paging import Place
from schemas.dead_letters import DeadLetter, DeadLetterRecord, DeadLetterResolved
from schemas.errors import InvalidMessageError
from topics.partitioner import split_key

#: Of a dead letter's value so much is shown, and kept.
PREVIEW_BYTES: Final = 512

#: Records of each partition that are read at first; then more at once, up to the most that is in memory.
_FIRST: Final = 64
_GROWTH: Final = 4
_MOST: Final = 1024

#: Within a partition letters are in the order of their times, but for what the clocks of its owners differ, in ms.
_SKEW_MS: Final = 10_000


class Records(Protocol):
    """The topic of dead letters, as :class:`~barnabas.dead_letters.DeadLetterLog` reads it; blocks."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition."""

    def between(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[tuple[Position, DeadLetterRecord]]:
        """Yield what lies there, each partition's in order."""


class Question(NamedTuple):
    """Which page.

    Attributes:
        limit: How many letters it may have.
        behind: Where the page before ended.
        cause: The error code.
        with_resolved: Retried and dropped ones, too.
        tenant: Those of its sessions alone; None for all.
    """

    limit: int
    behind: Place | None = None
    cause: str | None = None
    with_resolved: bool = False
    tenant: str | None = None


class ShownLetter(NamedTuple):
    """A dead letter with the beginning of its value alone, and what was done with it last."""

    position: Position
    letter: DeadLetter
    value_bytes: int | None
    resolved: DeadLetterResolved | None = None


class LetterPage(NamedTuple):
    """Newest first; ``following`` is the place behind which the next page begins, None where there is none."""

    letters: list[ShownLetter]
    following: Place | None


class LetterPages:
    """One for the gateway, with a thread of its own: who reads letters keeps nobody else from a thread.

    Args:
        records: Where they lie.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="barnabas-dead-letters")
        self._asked: dict[Question, asyncio.Future[LetterPage]] = {}

    async def page(self, question: Question) -> LetterPage:
        """Return a page; those who ask the same at once share one reading.

        Raises:
            BrokerError: Kafka does not answer.
            TopicMismatchError: The topic has another number of partitions.
        """
        asked = self._asked.get(question)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._thread, read_page, self._records, question)
            self._asked[question] = asked
            asked.add_done_callback(lambda _done: self._asked.pop(question))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """Begin to read no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def read_page(records: Records, question: Question) -> LetterPage:
    """Read a page; blocks. Raises as :meth:`LetterPages.page`."""
    bounds = records.bounds()
    begins = {number: first for number, (first, _) in bounds.items()}
    left = {number: end for number, (_, end) in bounds.items()}
    #: The time of each partition's oldest letter that was met: those before it are about as old, or older.
    oldest: dict[int, int] = {}
    resolved: dict[Position, DeadLetterResolved] = {}
    newest: list[tuple[Place, ShownLetter]] = []
    size = _FIRST
    while True:
        is_full = len(newest) > question.limit
        needed = newest[0][0].timestamp - _SKEW_MS if is_full else None
        spans = {
            number: (max(begins[number], end - size), end)
            for number, end in left.items()
            if end > begins[number] and (needed is None or oldest.get(number, needed) >= needed)
        }
        if not spans:
            break
        met, done = _read(records.between(spans))
        for position, what in done.items():
            resolved.setdefault(position, what)  # what was read before lies behind it
        for shown in met:
            number, time = shown.position.partition, shown.letter.occurred_at
            oldest[number] = min(oldest.get(number, time), time)
            found = shown._replace(resolved=resolved.get(shown.position))
            if _is_asked_for(found, question):
                heapq.heappush(newest, (_place(found), found))
                if len(newest) > question.limit + 1:
                    heapq.heappop(newest)
        left |= {number: first for number, (first, _) in spans.items()}
        size = min(size * _GROWTH, _MOST)
    ordered = sorted(newest, key=lambda one: one[0], reverse=True)
    chosen = ordered[: question.limit]
    return LetterPage([shown for _, shown in chosen], chosen[-1][0] if len(ordered) > len(chosen) else None)


def _read(
    records: Iterable[tuple[Position, DeadLetterRecord]],
) -> tuple[list[ShownLetter], dict[Position, DeadLetterResolved]]:
    """Return the letters, and what was done last with any."""
    met: list[ShownLetter] = []
    done: dict[Position, DeadLetterResolved] = {}
    for position, record in records:
        if isinstance(record, DeadLetterResolved):
            done[Position(record.partition, record.offset)] = record
        else:
            value = record.value
            kept = replace(record, value=None if value is None else value[:PREVIEW_BYTES], key=None, headers=[])
            met.append(ShownLetter(position, kept, None if value is None else len(value)))
    return met, done


def _is_asked_for(shown: ShownLetter, question: Question) -> bool:
    return (
        (question.with_resolved or shown.resolved is None)
        and (question.cause is None or shown.letter.cause == question.cause)
        and (question.tenant is None or session_of_letter(shown.letter)[0] == question.tenant)
        and (question.behind is None or _place(shown) < question.behind)
    )


def session_of_letter(letter: DeadLetter) -> tuple[str | None, str | None]:
    """Return a dead letter's tenant and session; one whose key names none belongs to no tenant."""
    key = letter.session_id
    try:
        return (None, None) if key is None else split_key(key.encode())
    except InvalidMessageError:
        return None, key


def _place(shown: ShownLetter) -> Place:
    return Place(shown.letter.occurred_at, f"{shown.position.partition:05}.{shown.position.offset:020}")
