"""Pages by place: nothing twice and nothing missed, whatever comes and goes between two of them."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.gateway.paging import Place, number_of, page, place_of
from barnabas.gateway.session_views import Memory, memory_of
from schemas.errors import CursorError
from schemas.session import MemoryEntry

#: Few timestamps, so that many memories share one, and clocks of several workers go back and forth.
TIMESTAMPS = st.integers(1, 5)


def remembered(timestamps: list[int], first: int = 0) -> list[Memory]:
    """What a session remembers, said at these times."""
    return [
        memory_of(MemoryEntry(seq=first + number, role="user", text="", turn_id="t", occurred_at=timestamp))
        for number, timestamp in enumerate(timestamps)
    ]


def place(memory: Memory) -> Place:
    """As the handler's."""
    return Place(memory.timestamp, memory.id)


@given(
    before=st.lists(TIMESTAMPS, max_size=20),
    arriving=st.lists(st.lists(TIMESTAMPS, max_size=4), max_size=8),
    dropping=st.lists(st.integers(0, 3), max_size=8),
    limit=st.integers(1, 5),
    newest_first=st.booleans(),
)
def test_pages_give_every_memory_that_stays_exactly_once(
    before: list[int], arriving: list[list[int]], dropping: list[int], limit: int, *, newest_first: bool
) -> None:
    """New ones arrive and the oldest leave between two pages; those that were there all the time come once, in order.

    With a cursor that counts (the number of memories given so far) this fails at once.
    """
    memories = remembered(before)
    stays = {memory.id for memory in memories}
    given_ones: list[Memory] = []
    behind: Place | None = None
    changes = zip(chain(arriving, repeat([])), chain(dropping, repeat(0)), strict=False)
    while True:
        found, following = page(memories, place, behind=behind, limit=limit, newest_first=newest_first)
        assert len(found) <= limit
        given_ones += found
        if following is None:
            break
        behind = place_of(str(following))
        new, gone = next(changes)
        memories = [*memories[gone:], *remembered(new, first=int(memories[-1].id) + 1)]
        stays &= {memory.id for memory in memories}
    ids = [memory.id for memory in given_ones]
    assert len(ids) == len({*ids})
    assert stays <= {*ids}
    assert given_ones == sorted(given_ones, key=place, reverse=newest_first)


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "٣", "5\n", "x"])
def test_what_is_no_offset_is_refused(cursor: str) -> None:
    """Also digits of another script."""
    with pytest.raises(CursorError):
        number_of(cursor)


@pytest.mark.parametrize("cursor", ["", "5", "~a", "5~", "x~a", "-5~a"])
def test_what_is_no_place_is_refused(cursor: str) -> None:
    """Both parts are needed."""
    with pytest.raises(CursorError):
        place_of(cursor)
