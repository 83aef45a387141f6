"""What a reader makes of token records: one attempt's text a turn, whatever was repeated, cut off or lost.

Pure. Records of a partition come in log order; a reader that resumes may see some twice, one that comes late misses
the first. The highest attempt counts, lower ones are dropped, and the terminal record repairs what was missed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from schemas.attempt import Attempt
from schemas.tokens import TERMINAL_KINDS, Token, TokenKind

#: Ended turns remembered, so that a repeated terminal record ends nothing twice.
ENDED_KEPT: Final = 4096


class ChangeKind(Enum):
    """What a record means to a reader."""

    STARTED = auto()  #: The turn began.
    TEXT = auto()  #: Show ``text`` behind what is shown.
    RESET = auto()  #: Forget the turn's text: a later attempt begins.
    TOOL = auto()  #: A tool was called or returned; the token says which.
    ENDED = auto()  #: The outcome; ``text`` is the whole answer.


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a turn as its reader sees it.

    Attributes:
        kind: What to do.
        token: The record behind it.
        text: The piece to show; with ``ENDED`` the whole text.
        is_repaired: With ``ENDED``: what was shown differs from ``text``, and ``text`` is right.
    """

    kind: ChangeKind
    token: Token
    text: str = ""
    is_repaired: bool = False


class TurnFold:
    """Folds one turn's records.

    Attributes:
        attempt: The highest seen; None before the first record.
        text: Of that attempt, so far; the whole answer at the end.
        outcome: The terminal record, once it came.
    """

    __slots__ = ("_expected", "_seen", "attempt", "outcome", "text")

    def __init__(self) -> None:
        self.attempt: Attempt | None = None
        self.text = ""
        self.outcome: Token | None = None
        self._expected = 0
        self._seen = 0

    @property
    def is_complete(self) -> bool:
        """Whether ``text`` is known to be whole: the outcome carries it, or every delta was seen."""
        outcome = self.outcome
        return outcome is not None and (outcome.text is not None or outcome.deltas == self._seen)

    def apply(self, token: Token) -> tuple[Change, ...]:
        """Fold a record and return what changed for the reader; a stale or repeated one changes nothing."""
        if self.outcome is not None or (self.attempt is not None and token.attempt < self.attempt):
            return ()
        changes: list[Change] = []
        if self.attempt is None or token.attempt > self.attempt:
            if self.attempt is not None:
                changes.append(Change(ChangeKind.RESET, token))
            self.attempt, self.text, self._expected, self._seen = token.attempt, "", 0, 0
        if token.kind in TERMINAL_KINDS:
            changes.append(self._end(token))
        elif token.index >= self._expected:
            self._expected = token.index + 1
            changes += self._step(token)
        return tuple(changes)

    def _step(self, token: Token) -> list[Change]:
        if token.kind is TokenKind.DELTA:
            text = token.text or ""
            self.text += text
            self._seen += 1
            return [Change(ChangeKind.TEXT, token, text)]
        if token.kind is TokenKind.STARTED:
            return [Change(ChangeKind.STARTED, token)]
        return [Change(ChangeKind.TOOL, token)] if token.kind is TokenKind.TOOL else []

    def _end(self, token: Token) -> Change:
        self.outcome = token
        shown = self.text
        if token.text is not None:
            self.text = token.text
        return Change(ChangeKind.ENDED, token, self.text, is_repaired=shown != self.text)


class StreamFold:
    """Folds the records of many turns; an ended turn's text is let go."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], TurnFold] = {}
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()

    def apply(self, token: Token) -> tuple[Change, ...]:
        """As :meth:`TurnFold.apply`, for the record's own turn."""
        key = (token.session_id, token.turn_id)
        if key in self._ended:
            return ()
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = TurnFold()
        changes = turn.apply(token)
        if turn.outcome is not None:
            del self._turns[key]
            self._ended[key] = None
            if len(self._ended) > ENDED_KEPT:
                self._ended.popitem(last=False)
        return changes
