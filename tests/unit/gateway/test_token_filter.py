"""Which records are shown does not depend on who reads, nor on how often he was interrupted.

Seen to fail, by the line of ``TokenFilter`` that was taken out or changed: each test's docstring names it.
``look_back``'s own comparison of epochs is needed by none: ``shows`` makes it, too.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.gateway.token_filter import TokenFilter
from schemas.attempt import PUT_ASIDE, Attempt
from schemas.tokens import Token, TokenKind


def token(kind: TokenKind, index: int, *, turn: str = "t1", epoch: int = 1, attempt: Attempt | None = None) -> Token:
    """Make a record."""
    return Token(
        session_id="ada",
        turn_id=turn,
        message_id=f"m-{turn}",
        attempt=attempt or Attempt(epoch, 0),
        epoch=epoch,
        index=index,
        kind=kind,
        occurred_at=1,
        text=f"{turn} {index}",
    )


def shown(records: list[Token], *, epoch: int = -1) -> list[Token]:
    """Return what a reader is shown of them."""
    of = TokenFilter(epoch)
    return [record for record in records if of.shows(record)]


STARTED, DELTA, COMPLETED, SUPERSEDED = (
    TokenKind.STARTED, TokenKind.DELTA, TokenKind.COMPLETED, TokenKind.SUPERSEDED,
)  # fmt: skip


def test_turn_is_shown_whole() -> None:
    """Each record once. Line: ``next_index`` moved on by two."""
    records = [token(STARTED, 0), token(DELTA, 1), token(DELTA, 2), token(COMPLETED, 3)]
    assert shown(records) == records


def test_repeated_record_is_left_out() -> None:
    """One that was written twice. Line: ``token.index < turn.next_index``."""
    records = [token(STARTED, 0), token(DELTA, 1), token(DELTA, 1), token(COMPLETED, 2)]
    assert shown(records) == [records[0], records[1], records[3]]


def test_zombie_is_left_out() -> None:
    """It writes behind the next owner. Lines, both: ``token.epoch < self._epoch``, ``token.attempt < turn.attempt``."""
    records = [token(STARTED, 0), token(SUPERSEDED, 0, epoch=5), token(DELTA, 1, epoch=1), token(DELTA, 1, epoch=5)]
    assert shown(records) == [records[0], records[1], records[3]]


def test_zombie_that_begins_a_turn_is_left_out() -> None:
    """One that the next owner has not come to. Lines: ``token.epoch < self._epoch``, and where it is set."""
    records = [token(STARTED, 0), token(SUPERSEDED, 0, epoch=5), token(STARTED, 0, turn="t2", epoch=1)]
    assert shown(records) == records[:2]


def test_lower_attempt_of_the_same_epoch_is_left_out() -> None:
    """An owner may try again within its epoch. Line: ``token.attempt < turn.attempt``."""
    records = [token(STARTED, 0), token(SUPERSEDED, 0, attempt=Attempt(1, 1)), token(DELTA, 1)]
    assert shown(records) == records[:2]


def test_later_attempt_of_a_turn_that_has_ended_is_left_out() -> None:
    """Its end was told. Line: ``turn.has_ended`` where the attempt is higher."""
    records = [token(STARTED, 0), token(TokenKind.FAILED, 1), token(SUPERSEDED, 0, epoch=5), token(DELTA, 1, epoch=5)]
    assert shown(records) == records[:2]


def test_end_that_a_new_owner_repeats_is_left_out() -> None:
    """With the attempt that was accepted and its own epoch, behind the next turn's first records.

    Lines: ``turn.has_ended`` where the attempt is not higher, and where it is set.
    """
    records = [
        token(STARTED, 0), token(COMPLETED, 1), token(STARTED, 0, turn="t2"),
        token(COMPLETED, 1, epoch=5, attempt=Attempt(1, 0)), token(SUPERSEDED, 0, turn="t2", epoch=5),
    ]  # fmt: skip
    assert shown(records) == [*records[:3], records[4]]


def test_message_put_aside_and_retried_is_shown_again() -> None:
    """Its first end decided nothing. Line: ``not is_superseded``."""
    records = [token(TokenKind.FAILED, 0, attempt=PUT_ASIDE), token(STARTED, 0), token(COMPLETED, 1)]
    assert shown(records) == records


def test_end_of_lower_epoch_before_the_cursor_keeps_no_end_away() -> None:
    """Whether it counted is not known: shown twice is harmless, never is not.

    Line: ``look_back`` takes records of any epoch.
    """
    of = TokenFilter(5)
    of.look_back(token(COMPLETED, 1, epoch=1))
    assert of.shows(token(COMPLETED, 1, epoch=5, attempt=Attempt(1, 0)))


@st.composite
def logs(draw: st.DrawFn) -> list[Token]:
    """Draw a session's records over several owners, with zombies that write late and ends that are repeated."""
    records: list[Token] = []
    zombies: list[Token] = []
    finished: list[tuple[str, Attempt, int]] = []
    epoch, turn, begun, committed = 1, 0, False, 0
    for _ in range(draw(st.integers(2, 12))):
        attempt = Attempt(epoch, 0)
        name = f"t{turn}"
        records.append(token(SUPERSEDED if begun else STARTED, 0, turn=name, epoch=epoch))
        begun = True
        deltas = draw(st.integers(0, 4))
        records += [token(DELTA, index + 1, turn=name, epoch=epoch) for index in range(deltas)]
        if draw(st.booleans()):
            records.append(token(COMPLETED, deltas + 1, turn=name, epoch=epoch))
            finished.append((name, attempt, deltas + 1))
            turn, begun = turn + 1, False
        if draw(st.booleans()):
            zombies = [token(DELTA, deltas + 1 + more, turn=name, epoch=epoch) for more in range(2)]
            epoch += 10
            committed = draw(st.integers(committed, len(finished)))
            for decided, accepted, index in finished[committed:]:  # in the order of their messages
                records.append(token(COMPLETED, index, turn=decided, epoch=epoch, attempt=accepted))
            records += zombies if records[-1].epoch == epoch and draw(st.booleans()) else []
    return records


@given(logs(), st.data())
def test_interrupted_reader_is_shown_what_the_other_is(records: list[Token], data: st.DataObject) -> None:
    """Whatever was written, and wherever he came back from.

    Lines: ``look_back`` (a repeated end comes twice); the cursor's epoch, where it begins (a zombie's records).
    """
    of = TokenFilter()
    whole = [(offset, record) for offset, record in enumerate(records) if of.shows(record)]
    position = data.draw(st.integers(0, len(whole)))
    before, behind = whole[:position], whole[position:]
    again = []
    if before:
        last, record = before[-1]
        resumed = TokenFilter(record.epoch)
        for each in records[: last + 1]:
            resumed.look_back(each)
        again = [(offset, each) for offset, each in enumerate(records) if offset > last and resumed.shows(each)]
        assert again == behind


@pytest.mark.parametrize("count", [65, 200])
def test_turns_remembered_are_bounded(count: int) -> None:
    """A session may live for years. Line: ``popitem``."""
    of = TokenFilter()
    for number in range(count):
        assert of.shows(token(COMPLETED, 0, turn=f"t{number}"))
    assert len(of._turns) == 64
