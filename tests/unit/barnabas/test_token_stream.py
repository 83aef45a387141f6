"""What a stream gives out, part by part, and what its cursors give in another process."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabas.client.client import _collect
from barnabas.client.messages import Part
from barnabas.client.stream import TokenStream
from barnabas.cursor import Cursor
from barnabas.fanout import TokenRecord
from barnabas.stream_fold import ChangeKind
from schemas.errors import ClientError, SlowSubscriberError
from schemas.tokens import Token
from tests.unit.barnabas.test_stream_fold import attempt_of


class ListSubscription:
    """Reads a list of records behind a cursor, as a fan-out's subscription would."""

    def __init__(self, log: Sequence[Token | None], after: Cursor, limit: int | None = None) -> None:
        self.cursor = after
        self._log = log
        self._left = limit
        self.is_closed = False

    async def __anext__(self) -> TokenRecord:
        """Return the next record; what was lost is stepped over."""
        if self._left == 0:
            raise SlowSubscriberError("slow", cursor=str(self.cursor))
        for offset in range(self.cursor.next_offset, len(self._log)):
            token = self._log[offset]
            if token is not None:
                self._left = None if self._left is None else self._left - 1
                self.cursor = Cursor(0, offset, max(self.cursor.epoch, token.epoch))
                return TokenRecord(0, offset, token)
        raise StopAsyncIteration

    def close(self) -> None:
        """End."""
        self.is_closed = True


def stream_of(
    log: Sequence[Token | None],
    after: Cursor,
    *,
    limit: int | None = None,
    is_patient: bool = True,
    made: list[ListSubscription] | None = None,
) -> TokenStream:
    """Make a session's stream over a list."""

    async def subscribe(behind: Cursor | None) -> ListSubscription:
        one = ListSubscription(log, behind or after, limit)
        if made is not None:
            made.append(one)
        return one

    return TokenStream(subscribe, after, is_patient=is_patient)  # type: ignore[arg-type]


def read(log: Sequence[Token | None], after: Cursor) -> list[Part]:
    """Read to the list's end."""

    async def run() -> list[Part]:
        return [part async for part in stream_of(log, after)]

    return asyncio.run(run())


def screen(parts: Sequence[Part]) -> str:
    """Return what is shown by who appends text and forgets on a reset."""
    shown = ""
    for part in parts:
        shown = "" if part.kind is ChangeKind.RESET else shown + part.text
    return shown


ANSWER = attempt_of(["a", "b", "c", "d", "e"], (5, 0), first=True, ends=True)


@pytest.mark.parametrize("entered", range(len(ANSWER)))
def test_stream_entered_in_mid_turn_and_cut_anywhere_shows_the_whole_answer(entered: int) -> None:
    """Cut behind any part, also between the repair's reset and its text, and resumed from that part's saved cursor."""
    first = read(ANSWER, Cursor(0, entered - 1))
    assert screen(first) == "abcde"
    for cut in range(1, len(first)):
        kept = first[:cut]
        rest = read(ANSWER, Cursor.parse(str(kept[-1].cursor)))
        assert screen([*kept, *rest]) == "abcde", (entered, cut)
        assert rest[-1].outcome == "completed"


def test_stream_entered_in_mid_turn_has_plain_cursors_again_behind_its_end() -> None:
    """The next turn is read from its beginning; nothing of it needs a repair."""
    second = [
        Token(**{name: getattr(record, name) for name in record.__struct_fields__} | {"turn_id": "t2"})
        for record in ANSWER
    ]
    log = [*ANSWER, *second]
    parts = read(log, Cursor(0, 2))
    assert {part.cursor.is_partial for part in parts if part.token.turn_id == "t2"} == {False}
    (ended,) = [part for part in parts if part.outcome and part.token.turn_id == "t1"]
    assert ended.cursor == Cursor(0, len(ANSWER) - 1, 5)
    rest = read(log, ended.cursor)
    assert [part.text for part in rest if part.text] == ["a", "b", "c", "d", "e"]


async def test_closed_stream_of_a_turn_with_a_gap_has_a_partial_cursor() -> None:
    """Also where it is asked of the stream instead of the part."""
    parts = stream_of(ANSWER, Cursor(0, 2))
    assert (await anext(parts)).text == "c"
    assert parts.cursor == Cursor(0, 3, 5, is_partial=True)
    await parts.aclose()
    assert parts.cursor == Cursor(0, 3, 5, is_partial=True)


@st.composite
def cut_logs(draw: st.DrawFn) -> tuple[list[Token | None], str, list[int]]:
    """Attempts of a turn with records missing; and behind which parts a reader's process dies."""
    texts = draw(st.lists(st.lists(st.sampled_from("aab"), max_size=4), min_size=1, max_size=3))
    last = len(texts) - 1
    log: list[Token | None] = []
    for number, run in enumerate(texts):
        log += attempt_of(run, (5, number), first=number == 0, ends=number == last)
    entered = draw(st.integers(0, len(log) - 1))
    log[:entered] = [None] * entered
    return log, "".join(texts[-1]), draw(st.lists(st.integers(1, 4), max_size=6))


@settings(max_examples=50)  # each example runs event loops
@given(cut_logs())
def test_stream_cut_and_resumed_any_number_of_times_shows_the_last_attempt(
    case: tuple[list[Token | None], str, list[int]],
) -> None:
    """Wherever it was entered: what the reader has on its screen at the end is the answer."""
    log, expected, cuts = case
    cursor, shown, after = Cursor(0, -1), deque[Part](), iter([*cuts, None])
    for cut in after:
        parts = read(log, cursor)
        shown += parts[:cut]
        if len(parts) <= (cut or len(parts)):
            break
        cursor = Cursor.parse(str(shown[-1].cursor))
    assert screen(list(shown)) == expected


async def test_slow_stream_goes_on_by_itself_or_says_where() -> None:
    """Patient unless told otherwise; of a turn with a gap the error's cursor says so, too."""
    made: list[ListSubscription] = []
    parts = [part async for part in stream_of(ANSWER, Cursor(0, 1), limit=2, made=made)]
    assert screen(parts) == "abcde"
    assert len(made) == 3
    assert all(one.is_closed for one in made[:-1])
    impatient = stream_of(ANSWER, Cursor(0, 1), limit=2, is_patient=False)
    with pytest.raises(SlowSubscriberError) as cut:
        [part async for part in impatient]
    assert cut.value.cursor == str(impatient.cursor) == "0:3:5~"
    assert [part async for part in impatient] == []


async def test_stream_left_by_break_closes_its_subscription() -> None:
    """Without ``async with``: nobody holds the stream any more."""
    made: list[ListSubscription] = []
    async for part in stream_of(ANSWER, Cursor(0, -1), made=made):
        assert part.kind is ChangeKind.STARTED
        break
    gc.collect()  # not needed where references are counted
    await asyncio.sleep(0)
    assert [one.is_closed for one in made] == [True]


async def test_stream_closed_while_it_subscribes_keeps_no_subscription() -> None:
    """What arrives late is given back."""
    made: list[ListSubscription] = []
    may = asyncio.Event()

    async def subscribe(_behind: Cursor | None) -> ListSubscription:
        await may.wait()
        made.append(ListSubscription(ANSWER, Cursor(0, -1)))
        return made[-1]

    parts = TokenStream(subscribe, None)  # type: ignore[arg-type]
    waiting = asyncio.create_task(anext(parts, None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await parts.aclose()
    may.set()
    assert await waiting is None
    assert [one.is_closed for one in made] == [True]


@pytest.mark.parametrize("seen", [0, 3])
async def test_collect_of_a_client_that_was_closed_says_where_to_go_on(seen: int) -> None:
    """Neither a wrong outcome nor a name that is not bound."""
    with pytest.raises(ClientError, match=rf"closed.*go on from 0:{seen - 1}:{5 if seen else -1}$"):
        await _collect(stream_of(ANSWER[:seen], Cursor(0, -1)), None)
