"""The reader's fold: one attempt's text, whatever was repeated, cut off or lost.

Seen to fail, by the line of ``barnabas/stream_fold.py`` that was taken out or changed:

- ``apply``, lower attempts dropped: stale attempt, any interleaving. What follows an outcome dropped: terminal sent
  again, failed turn, any interleaving; unless superseded: retried dead letter.
- ``apply``, higher attempts: without ``RESET`` later attempt (both), same epoch, any interleaving, any losses; without
  ``_begin`` later attempt, any interleaving; without ``_is_whole`` judged by itself.
- ``apply``, ``index >= _expected``: any interleaving. ``_first``: without ``_expected`` resumed in the middle, without
  ``RESET`` resumed and superseded, without ``_is_whole`` seen from its first record.
- ``_step``: without ``TEXT`` one attempt and twelve more; without ``_seen`` terminal without text.
- ``_end``: nothing missed where whole: missed delta, missed tail, any losses; where not: resumed with a gap, partly
  read; shown anew where the rest would do: missed tail; the rest where all has to be shown anew: partly read; a
  failure's missing text taken for an empty one: failure keeps; ``is_complete`` always: terminal without text.
- ``StreamFold``: the epoch: resumed drops; what has ended, the session in the key: turns and sessions; ``popitem``:
  bounded; partial where not the first: later turn without its first records.
"""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from barnabas.stream_fold import ENDED_KEPT, Change, ChangeKind, StreamFold, TurnFold
from schemas.attempt import Attempt
from schemas.tokens import Token, TokenKind


def token(
    kind: TokenKind,
    index: int,
    *,
    attempt: tuple[int, int] = (5, 0),
    text: str | None = None,
    deltas: int | None = None,
    epoch: int | None = None,
    turn_id: str = "t1",
    session_id: str = "ada",
) -> Token:
    """Make a record of one turn."""
    return Token(
        session_id=session_id,
        turn_id=turn_id,
        message_id="m1",
        attempt=Attempt(*attempt),
        epoch=attempt[0] if epoch is None else epoch,
        index=index,
        kind=kind,
        occurred_at=0,
        text=text,
        deltas=deltas,
    )


def attempt_of(texts: Sequence[str], attempt: tuple[int, int], *, first: bool, ends: bool) -> list[Token]:
    """Make an attempt's records as the worker writes them."""
    opening = TokenKind.STARTED if first else TokenKind.SUPERSEDED
    records = [token(opening, 0, attempt=attempt)]
    records += [token(TokenKind.DELTA, n, attempt=attempt, text=text) for n, text in enumerate(texts, 1)]
    if ends:
        whole, count = "".join(texts), len(texts)
        records.append(token(TokenKind.COMPLETED, count + 1, attempt=attempt, text=whole, deltas=count))
    return records


def shown(changes: Sequence[Change]) -> str:
    """Return what a reader has on its screen who appends text and forgets on a reset."""
    text = ""
    for change in changes:
        if change.kind is ChangeKind.RESET:
            text = ""
        elif change.kind is ChangeKind.TEXT:
            text += change.text
    return text


def fold(records: Sequence[Token]) -> tuple[TurnFold, list[Change]]:
    """Fold records of one turn."""
    turn = TurnFold()
    return turn, [change for record in records for change in turn.apply(record)]


def test_apply_one_attempt_gives_its_text_in_order() -> None:
    """The plain case: nothing lost, nothing twice."""
    turn, changes = fold(attempt_of(["He", "llo"], (5, 0), first=True, ends=True))
    assert [change.kind.name for change in changes] == ["STARTED", "TEXT", "TEXT", "ENDED"]
    assert turn.text == shown(changes) == "Hello"
    assert turn.is_complete
    assert not changes[-1].is_repaired


def test_apply_later_attempt_resets_and_wins() -> None:
    """A worker died in the middle; the next owner begins again."""
    records = attempt_of(["old"], (5, 0), first=True, ends=False) + attempt_of(["new"], (9, 0), first=False, ends=True)
    _, changes = fold(records)
    assert [change.kind.name for change in changes] == ["STARTED", "TEXT", "RESET", "TEXT", "ENDED"]
    assert shown(changes) == "new"


def test_apply_later_attempt_without_its_first_record_resets_too() -> None:
    """The record that says superseded may be what was missed."""
    records = (
        attempt_of(["old"], (5, 0), first=True, ends=False) + attempt_of(["a", "b"], (9, 0), first=False, ends=True)[1:]
    )
    assert shown(fold(records)[1]) == "ab"


def test_apply_stale_attempt_behind_a_later_one_changes_nothing() -> None:
    """A zombie's late tokens, more of them than the later attempt has written."""
    late = attempt_of(["zom", "b", "ie"], (5, 0), first=True, ends=False)
    turn, changes = fold([*attempt_of(["new"], (9, 0), first=False, ends=False), *late])
    assert turn.text == shown(changes) == "new"


def test_apply_same_epoch_higher_try_wins() -> None:
    """An owner may try again within its epoch."""
    records = attempt_of(["a"], (5, 0), first=True, ends=False) + attempt_of(["b"], (5, 1), first=False, ends=True)
    assert shown(fold(records)[1]) == "b"


def test_apply_terminal_sent_again_by_the_next_owner_ends_the_accepted_attempt_once() -> None:
    """It carries the accepted attempt and the new owner's epoch."""
    records = attempt_of(["Hi"], (5, 0), first=True, ends=False)
    again = token(TokenKind.COMPLETED, 2, attempt=(5, 0), epoch=9, text="Hi", deltas=1)
    turn, changes = fold([*records, again, again])
    assert [change.kind for change in changes].count(ChangeKind.ENDED) == 1
    assert turn.is_complete
    assert shown(changes) == "Hi"


def test_apply_missed_delta_is_repaired_by_the_terminal_record() -> None:
    """A reader that came late, or lost a record."""
    records = attempt_of(["a", "b", "c"], (5, 0), first=True, ends=True)
    del records[2]
    turn, changes = fold(records)
    assert changes[-1].is_repaired
    assert turn.text == shown(changes) == "abc"


def test_apply_missed_tail_is_appended_and_nothing_is_shown_twice() -> None:
    """The common loss: what was shown is the beginning of the answer."""
    records = attempt_of(["a", "b", "c"], (5, 0), first=True, ends=True)
    _, changes = fold([*records[:2], records[-1]])
    assert [(change.kind.name, change.text) for change in changes[2:]] == [("TEXT", "bc"), ("ENDED", "")]


def test_apply_resumed_in_the_middle_gives_exactly_the_rest() -> None:
    """What was read before the resume is neither missed nor shown again."""
    records = attempt_of(["a", "b", "c"], (5, 0), first=True, ends=True)
    for read in range(len(records)):
        turn = TurnFold(is_resumed=True)
        changes = [change for record in records[read:] for change in turn.apply(record)]
        assert "abc"[max(0, read - 1) :] == shown(changes)
        assert not any(change.kind is ChangeKind.RESET for change in changes)
        assert turn.text == "abc"
        assert turn.is_complete


def test_apply_resumed_and_superseded_forgets_what_was_read_before() -> None:
    """The reader has shown a piece of an attempt that does not count."""
    turn = TurnFold(is_resumed=True)
    changes = [
        change for record in attempt_of(["new"], (9, 0), first=False, ends=True) for change in turn.apply(record)
    ]
    assert [change.kind.name for change in changes] == ["RESET", "TEXT", "ENDED"]


def test_apply_resumed_with_a_gap_behind_it_begins_again() -> None:
    """What is shown is not known here: the whole answer replaces it."""
    records = attempt_of(["a", "b", "c", "d"], (5, 0), first=True, ends=True)
    turn = TurnFold(is_resumed=True)
    changes = [change for record in (records[2], *records[4:]) for change in turn.apply(record)]
    assert [change.kind.name for change in changes] == ["TEXT", "TEXT", "RESET", "TEXT", "ENDED"]
    assert shown(changes) == "abcd"


def test_apply_resumed_and_superseded_later_attempt_is_judged_by_itself() -> None:
    """Nothing of it was read before: its pieces' number tells that it is whole."""
    turn = TurnFold(is_resumed=True)
    records = attempt_of(["a", "b"], (5, 0), first=True, ends=False)[2:]
    records += attempt_of(["c"], (9, 0), first=False, ends=False)
    for record in [*records, token(TokenKind.COMPLETED, 2, attempt=(9, 0), deltas=1)]:
        turn.apply(record)
    assert (turn.text, turn.is_complete) == ("c", True)


def test_stream_fold_resumed_drops_records_of_an_epoch_below_its_cursor() -> None:
    """A zombie wrote behind the place where the reader had left."""
    stream = StreamFold(epoch=9, is_resumed=True)
    assert stream.apply(token(TokenKind.DELTA, 4, attempt=(5, 0), text="zombie")) == ()
    (change,) = stream.apply(token(TokenKind.DELTA, 2, attempt=(9, 0), text="b"))
    assert change.text == "b"


def test_stream_fold_resumed_later_turn_without_its_first_records_is_repaired() -> None:
    """Only the first turn can have been read before the resume; of another one they were missed."""
    stream = StreamFold(epoch=5, is_resumed=True)
    stream.apply(token(TokenKind.COMPLETED, 3, text="xy", deltas=2, turn_id="t0"))
    records = attempt_of(["a", "b", "c"], (5, 0), first=True, ends=True)
    changes = [change for record in records[2:] for change in stream.apply(record)]
    assert shown(changes) == "abc"
    assert changes[-1].is_repaired


def test_apply_partly_read_turn_is_shown_anew_at_its_end() -> None:
    """What the reader has on its screen is not known here, not even where the text seen begins the answer."""
    records = attempt_of(["a", "a", "a"], (5, 0), first=True, ends=True)
    for read in range(2, len(records)):
        turn = TurnFold(is_resumed=True, is_partial=True)
        changes = [change for record in records[read:] for change in turn.apply(record)]
        assert [change.kind.name for change in changes[-3:]] == ["RESET", "TEXT", "ENDED"]
        assert shown(changes) == "aaa"


def test_apply_partly_read_turn_seen_from_its_first_record_is_shown_once() -> None:
    """What was read before was of another turn, after all."""
    turn = TurnFold(is_resumed=True, is_partial=True)
    changes = [
        change for record in attempt_of(["a", "b"], (5, 0), first=True, ends=True) for change in turn.apply(record)
    ]
    assert [change.kind.name for change in changes] == ["STARTED", "TEXT", "TEXT", "ENDED"]


def test_apply_terminal_without_text_tells_whether_all_was_seen() -> None:
    """A repeated answer may have left the memory."""
    records = attempt_of(["a", "b"], (5, 0), first=True, ends=False)
    end = token(TokenKind.COMPLETED, 3, deltas=2)
    whole, _ = fold([*records, end])
    partial, _ = fold([records[0], records[2], end])
    assert (whole.text, whole.is_complete) == ("ab", True)
    assert (partial.text, partial.is_complete) == ("b", False)


def test_apply_failure_keeps_what_was_streamed() -> None:
    """The reader sees how far it came."""
    records = attempt_of(["a"], (5, 0), first=True, ends=False)
    turn, changes = fold([*records, token(TokenKind.FAILED, 2, deltas=1)])
    assert changes[-1].kind is ChangeKind.ENDED
    assert (turn.text, changes[-1].is_repaired) == ("a", False)


def test_stream_fold_turns_and_sessions_are_apart() -> None:
    """Two sessions may use one turn id; ended turns stay ended."""
    stream = StreamFold()
    for session in ("ada", "bob"):
        for record in attempt_of([session], (5, 0), first=True, ends=True):
            changes = stream.apply(
                Token(**{name: getattr(record, name) for name in record.__struct_fields__} | {"session_id": session})
            )
        assert changes[-1].token.text == session
    assert stream.apply(token(TokenKind.COMPLETED, 2, text="ada", deltas=1)) == ()


def test_stream_fold_ended_turns_are_bounded() -> None:
    """Memory does not grow with the number of turns."""
    stream = StreamFold()
    for number in range(ENDED_KEPT + 10):
        stream.apply(token(TokenKind.COMPLETED, 0, turn_id=f"t{number}", text="", deltas=0))
    assert len(stream._ended) == ENDED_KEPT
    assert not stream._turns


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[list[Token], str]:
    """Attempts as they are written, zombies' records behind later ones, any record again as a resume brings it."""
    texts = draw(st.lists(st.lists(st.text("abc ", min_size=1, max_size=3), max_size=5), min_size=1, max_size=4))
    runs = [
        attempt_of(run, (number * 3, 0), first=number == 0, ends=number == len(texts) - 1)
        for number, run in enumerate(texts)
    ]
    log: list[Token] = []
    positions = [0] * len(runs)
    while any(position < len(run) for position, run in zip(positions, runs, strict=True)):
        ready = [n for n, run in enumerate(runs) if positions[n] < len(run)]
        chosen = draw(st.sampled_from(ready))
        log.append(runs[chosen][positions[chosen]])
        positions[chosen] += 1
        if draw(st.booleans()):  # the reader goes back and reads some again
            back = draw(st.integers(0, len(log) - 1))
            log += log[back:]
        if len(log) > 400:
            log += [record for n, run in enumerate(runs) for record in run[positions[n] :]]
            break
    return log, "".join(texts[-1])


@given(interleavings())
def test_apply_any_interleaving_gives_the_last_attempts_text_alone(case: tuple[list[Token], str]) -> None:
    """No mixed attempts, at no moment, whatever zombies wrote and however often the reader resumed."""
    log, expected = case
    pieces: dict[Attempt, dict[int, str]] = {}
    for record in log:
        pieces.setdefault(record.attempt, {})[record.index] = (record.text or "") * (record.kind is TokenKind.DELTA)
    whole = {attempt: "".join(texts[index] for index in sorted(texts)) for attempt, texts in pieces.items()}
    turn, changes, screen = TurnFold(), list[Change](), ""
    for record in log:
        for change in turn.apply(record):
            changes.append(change)
            screen = "" if change.kind is ChangeKind.RESET else screen + change.text
        assert turn.attempt is not None
        assert whole[turn.attempt].startswith(screen)
    assert turn.text == shown(changes) == screen == expected
    assert turn.is_complete
    assert [change.kind for change in changes].count(ChangeKind.ENDED) == 1


@given(interleavings(), st.data())
def test_apply_any_losses_are_repaired_at_the_end(case: tuple[list[Token], str], data: st.DataObject) -> None:
    """Whatever a reader missed, the terminal record makes it whole."""
    log, expected = case
    kept = data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log)))
    seen = [record for record, keep in zip(log, kept, strict=True) if keep or record.kind is TokenKind.COMPLETED]
    turn, changes = fold(seen)
    assert turn.text == shown(changes) == expected


def test_apply_answer_of_a_retried_dead_letter_supersedes_its_failed_token() -> None:
    """``failed`` of attempt (-1, 0) says that a message was put aside; its retry is answered, and that is the end."""
    put_aside = token(TokenKind.FAILED, 0, attempt=(-1, 0), deltas=0)
    answer = attempt_of(["Hel", "lo"], (5, 0), first=True, ends=True)
    turn, changes = fold(
        [put_aside, put_aside, *answer, put_aside, *attempt_of(["no"], (9, 0), first=False, ends=True)]
    )
    kinds = [change.kind.name for change in changes]
    assert kinds == ["ENDED", "RESET", "STARTED", "TEXT", "TEXT", "ENDED"]
    assert turn.text == shown(changes) == "Hello"

    begun_again, _ = fold([put_aside, answer[0]])
    assert begun_again.outcome is None

    many = StreamFold()
    assert [change for record in [put_aside, put_aside, *answer, put_aside] for change in many.apply(record)] == changes


def test_apply_failed_turn_is_not_taken_up_again() -> None:
    """Only a dead letter's end is no decision."""
    failed = token(TokenKind.FAILED, 0, attempt=(5, 0), deltas=0)
    _, changes = fold([failed, *attempt_of(["x"], (9, 0), first=False, ends=True)])
    assert [change.kind.name for change in changes] == ["ENDED"]
