"""The judge sees a reader who is told nothing, or not what the log says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from schemas.attempt import Attempt
from schemas.serdes import Codec
from schemas.tokens import Token, TokenKind
from tests.chaos.doctored import NAMES, Doctored
from tests.chaos.judge import judge
from tests.chaos.load import Action


def _completed(run: Doctored) -> None:
    run.answer("a")


def _failed(run: Doctored) -> None:
    run.fail("a", run.publish("a"), "provider_failed")


def _cancelled(run: Doctored) -> None:
    run.stop("a", run.publish("a", mark=Action.CANCELLED))


def _rejected(run: Doctored) -> None:
    run.reject("a", run.publish("a"), "overloaded", age_s=4.0)


def _erased(run: Doctored) -> None:
    run.erase("a", run.publish("a", mark=Action.ERASE))


def _put_aside(run: Doctored) -> None:
    run.dead_letter(run.publish("p", mark=Action.POISON, value=b"{"))


def _put_aside_unreadable(run: Doctored) -> None:
    offset = run.publish("u", mark=Action.UNREADABLE)
    run.records[NAMES.messages][offset] = run.records[NAMES.messages][offset]._replace(headers=[])
    run.dead_letter(offset)


ENDS = (_completed, _failed, _cancelled, _rejected, _erased, _put_aside, _put_aside_unreadable)
by_end = pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))


def _ended(end: Callable[[Doctored], None]) -> Doctored:
    run = Doctored()
    run.open()
    end(run)
    return run


def _violated(run: Doctored) -> set[str]:
    return set(judge(run.evidence(shed_lag_s=3.0)).violations)


def _told(run: Doctored) -> Token:
    """The last token."""
    read = run.records[NAMES.tokens][-1]
    return Codec().decode_token(read.value, topic=NAMES.tokens, partition=0, offset=read.offset)


def _tell(run: Doctored, token: Token) -> None:
    """Add one more."""
    run.token(
        token.message_id, token.attempt, token.index, token.kind, token.text, deltas=token.deltas, cause=token.cause
    )


@by_end
def test_judge_each_end_told_is_clean_and_not_told_reported(end: Callable[[Doctored], None]) -> None:
    """Whoever waits for the message would wait for ever."""
    run = _ended(end)
    assert not _violated(run)
    run.records[NAMES.tokens].pop()
    assert _violated(run) == {"reader"}


@by_end
def test_judge_end_told_again_in_the_same_words_is_clean(end: Callable[[Doctored], None]) -> None:
    """To a copy of the message; the text may have left the memory by then."""
    run = _ended(end)
    _tell(run, structs.replace(_told(run), text=None, index=9))
    assert not _violated(run)


@by_end
@pytest.mark.parametrize("is_first", [True, False], ids=["the-only-one", "told-again"])
@pytest.mark.parametrize(
    "change",
    [{"kind": TokenKind.CANCELLED, "cause": None}, {"text": "another"}, {"deltas": 7}, {"cause": "mood"}],
    ids=lambda change: next(iter(change)),
)
def test_judge_end_told_otherwise_than_the_log_says_reported(
    end: Callable[[Doctored], None], change: dict[str, object], *, is_first: bool
) -> None:
    """Its kind, its text, the number of its deltas, its cause; the first time or later."""
    run = _ended(end)
    wrong = structs.replace(_told(run), **change)
    if wrong == _told(run):
        wrong = structs.replace(wrong, kind=TokenKind.COMPLETED)
    if is_first:
        run.records[NAMES.tokens].pop()
    _tell(run, wrong)
    assert _violated(run) == {"reader"}


def test_judge_end_told_of_a_turn_that_the_log_has_not_decided_reported() -> None:
    """Told before the fold had accepted anything."""
    run = Doctored()
    run.open()
    attempt = run.start("a", run.publish("a"))
    run.token("a", attempt, 2, TokenKind.COMPLETED, "said by 0", deltas=1)
    assert _violated(run) == {"reader", "not answered", "changelog"}


def test_judge_token_of_no_message_reported() -> None:
    """Somebody speaks to a turn that nobody began."""
    run = _ended(_completed)
    run.token("nobody's", Attempt(run.epoch, 0), 0, TokenKind.STARTED)
    assert _violated(run) == {"phantom"}


def test_judge_poison_without_a_session_needs_no_token() -> None:
    """There is nobody to tell."""
    run = Doctored()
    run.open()
    offset = run.publish("p", mark=Action.POISON, value=b"{")
    for key in (None, b"\x00partition", b"k" * 513):
        run.records[NAMES.messages][offset] = run.records[NAMES.messages][offset]._replace(key=key)
        run.records[NAMES.dead_letters] = []
        run.dead_letter(offset, is_told=False)
        assert not _violated(run)
