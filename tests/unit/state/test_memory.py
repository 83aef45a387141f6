"""The memory strategy: bounded, and never half a turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.session import MemoryEntry, Session
from state.memory import Compaction, RecentMessages, estimated_tokens

lengths = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=12)


def remembering(turns: list[tuple[int, int]], first_seq: int = 0) -> Session:
    """A session of question and answer pairs of these lengths."""
    memory = tuple(
        MemoryEntry(seq=first_seq + 2 * n + i, role=role, text="x" * length, turn_id=f"t{n}", occurred_at=n)
        for n, pair in enumerate(turns)
        for i, (role, length) in enumerate(zip(("user", "assistant"), pair, strict=True))
    )
    return Session(session_id="s", memory=memory, next_seq=first_seq + len(memory), summary="so far")


@given(lengths, st.integers(1, 200), st.integers(0, 50))
def test_compact_keeps_the_longest_tail_of_whole_turns_within_the_budget(
    turns: list[tuple[int, int]], budget: int, first_seq: int
) -> None:
    """Bounded, at a turn's boundary, and not one turn more than needed. Mutant: ``_turn_boundary`` left out."""
    session = remembering(turns, first_seq)
    compaction = RecentMessages(max_tokens=budget).compact(session)
    dropped_until = compaction.dropped_until if compaction is not None else first_seq
    kept = [entry for entry in session.memory if entry.seq >= dropped_until]

    assert sum(map(estimated_tokens, kept)) <= budget
    assert (dropped_until - first_seq) % 2 == 0
    if compaction is not None:
        one_more = [entry for entry in session.memory if entry.seq >= dropped_until - 2]
        assert sum(map(estimated_tokens, one_more)) > budget
        assert compaction.summary == "so far"


@pytest.mark.parametrize("turns", [[], [(4, 4)]], ids=["empty", "small"])
def test_compact_within_the_budget_keeps_all(turns: list[tuple[int, int]]) -> None:
    """No event is written for nothing."""
    assert RecentMessages().compact(remembering(turns)) is None


def test_compact_of_one_turn_beyond_the_budget_drops_it_whole() -> None:
    """Even the last turn may be too long; its successor begins with an empty memory."""
    assert RecentMessages(max_tokens=10).compact(remembering([(400, 4)])) == Compaction(2, "so far")
