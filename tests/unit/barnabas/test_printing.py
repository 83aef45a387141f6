"""What is written of an answer, of its record, and of nobody answering; and of any record's time."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from barnabas.client import Part
from barnabas.commands.printing import HINT_S, print_token, silence_hint
from barnabas.commands.reading import print_line
from barnabas.cursor import Cursor
from barnabas.reader import ReadRecord
from barnabas.stream_fold import StreamFold
from schemas.attempt import Attempt
from schemas.tokens import Token, TokenKind


def token(kind: TokenKind, index: int, *, number: int = 0, text: str | None = None) -> Token:
    """Make a record of one turn."""
    return Token(
        session_id="ada",
        turn_id="t1",
        message_id="m1",
        attempt=Attempt(5, number),
        epoch=5,
        index=index,
        kind=kind,
        occurred_at=0,
        text=text,
        deltas=1 if kind is TokenKind.COMPLETED else None,
    )


def printed(tokens: list[Token], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the kinds of the records that are printed of a turn."""
    fold = StreamFold()
    for record in tokens:
        for change in fold.apply(record):
            print_token(Part(change.kind, change.text, record, Cursor(0, 0)))
    return [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]


def test_print_token_prints_every_record_once(capsys: pytest.CaptureFixture[str]) -> None:
    """That an attempt was superseded as well: what was printed before it does not count; a repair's record once."""
    tokens = [
        token(TokenKind.STARTED, 0),
        token(TokenKind.DELTA, 1, text="lost"),
        token(TokenKind.SUPERSEDED, 0, number=1),
        token(TokenKind.DELTA, 1, number=1, text="ki"),
        token(TokenKind.COMPLETED, 3, number=1, text="kind"),
    ]
    assert printed(tokens, capsys) == ["started", "delta", "superseded", "delta", "completed"]


def test_print_token_of_an_attempt_whose_beginning_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """Its first record makes a reset and a text: one line."""
    tokens = [token(TokenKind.DELTA, 1, text="lost"), token(TokenKind.DELTA, 1, number=1, text="kind")]
    assert printed(tokens, capsys) == ["delta", "delta"]


class HandTimer:
    """A ``threading.Timer`` whose time passes when the test says so."""

    daemon = False

    def __init__(self, interval: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.interval, self._call = interval, lambda: function(*args)
        self._is_running = False

    def start(self) -> None:
        """Begin."""
        self._is_running = True

    def cancel(self) -> None:
        """End, without a call."""
        self._is_running = False

    def elapse(self) -> None:
        """Let its time be over."""
        if self._is_running:
            self._is_running = False
            self._call()


def test_silence_hint_comes_once_and_only_where_nothing_is_heard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr: the answer alone goes to stdout. Mutants: either ``cancel`` taken out; the hint on stdout."""
    timers: list[HandTimer] = []

    def timer(*arguments: Any) -> HandTimer:
        timers.append(HandTimer(*arguments))
        return timers[-1]

    monkeypatch.setattr(threading, "Timer", timer)
    with silence_hint() as heard:
        heard()
        timers[0].elapse()
    with silence_hint():
        pass
    timers[1].elapse()
    assert capsys.readouterr() == ("", "")
    with silence_hint():
        timers[2].elapse()
    assert capsys.readouterr() == ("", "nobody answers yet; is a worker running?\n")
    assert [(timer.interval, timer.daemon) for timer in timers] == [(HINT_S, True)] * 3


def test_print_line_tells_the_time_in_utc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With its date, whatever the machine's zone, as ``barnabas sessions`` does and as ``--from`` takes it."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        print_line(ReadRecord(0, 7, 1_795_266_000_123, None, None), "TurnStarted", "ada")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert capsys.readouterr().out.split() == ["2026-11-21T13:00:00.123Z", "0@7", "TurnStarted", "ada"]
