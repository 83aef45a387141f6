"""What a reader who can only append is given: a beginning of the one text that counts, always."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.cursor import Cursor
from barnabas.gateway.append_only import AppendOnly
from schemas.errors import AnswerChangedError
from schemas.tokens import Token
from tests.unit.barnabas.test_stream_fold import attempt_of
from tests.unit.barnabas.test_token_stream import stream_of

_WORDS = st.lists(st.sampled_from(["a", "b", "ab", " "]), max_size=6)


def given_of(log: Sequence[Token | None]) -> list[str]:
    """Return what was given, piece by piece.

    Raises:
        AnswerChangedError: As what is tested does.
    """

    async def read() -> list[str]:
        text = AppendOnly()
        return [text.take(part) async for part in stream_of(log, Cursor(0, -1))]

    return asyncio.run(read())


def test_each_piece_is_given_at_once() -> None:
    """Nothing waits where nothing went wrong."""
    log = attempt_of(["one", " two"], (1, 0), first=True, ends=True)
    assert given_of(log) == ["", "one", " two", ""]


def test_a_new_attempt_with_the_same_text_goes_on() -> None:
    """A worker died; its model is deterministic: the reader notices nothing."""
    log = [
        *attempt_of(["one", " two"], (1, 0), first=True, ends=False),
        *attempt_of(["one t", "wo", " three"], (7, 0), first=False, ends=True),
    ]
    assert given_of(log) == ["", "one", " two", "", "", "", " three", ""]


def test_a_new_attempt_with_another_text_is_an_error() -> None:
    """Two attempts are never mixed. Mutant: the text behind a reset is appended."""
    log = [
        *attempt_of(["one", " two"], (1, 0), first=True, ends=False),
        *attempt_of(["one", " other"], (7, 0), first=False, ends=True),
    ]
    with pytest.raises(AnswerChangedError):
        given_of(log)


def test_who_joins_in_the_middle_is_given_the_whole_at_the_end() -> None:
    """A message was sent again while its turn ran: what was said before is in the outcome."""
    log = [*attempt_of(["one", " two", " three"], (1, 0), first=True, ends=True)]
    log[:3] = [None] * 3  # type: ignore[list-item]
    assert "".join(given_of(log)) == "one two three"


@given(attempts=st.lists(_WORDS, min_size=1, max_size=3), lost=st.sets(st.integers(0, 30), max_size=3))
def test_whatever_was_cut_off_or_lost_the_text_is_right_or_an_error(attempts: list[list[str]], lost: set[int]) -> None:
    """At each moment a beginning of one attempt's text; at the end the last one's, whole."""
    log: list[Token | None] = []
    for number, words in enumerate(attempts):
        is_last = number == len(attempts) - 1
        log += attempt_of(words, (number, 0), first=number == 0, ends=is_last)
    log = [None if at in lost and at < len(log) - 1 else token for at, token in enumerate(log)]
    texts = ["".join(words) for words in attempts]
    try:
        pieces = given_of(log)
    except AnswerChangedError:
        assert any(not texts[-1].startswith(text) for text in texts[:-1])
        return
    assert "".join(pieces) == texts[-1]
    for end in range(len(pieces)):
        assert any(text.startswith("".join(pieces[:end])) for text in texts)
