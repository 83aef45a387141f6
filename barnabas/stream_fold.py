"""What a reader makes of token records: one attempt's text a turn, whatever was repeated, cut off or lost.

Pure. Records of a partition come in log order; a reader that resumes may see some twice, one that comes late misses
the first. The highest attempt counts, lower ones are dropped, and the terminal record repairs what was missed: who
appends each ``TEXT`` and forgets on each ``RESET`` has the right text at the end.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.attempt import PUT_ASIDE, Attempt
from schemas.tokens import TERMINAL_KINDS, Token, TokenKind

#: Ended turns remembered, so that a repeated terminal record ends nothing twice.
ENDED_KEPT: Final = 64


class ChangeKind(StrEnum):
    """What a record means to a reader."""

    STARTED = "started"  #: The turn began.
    TEXT = "text"  #: Show ``text`` behind what is shown.
    RESET = "reset"  #: Forget the turn's text: it begins again.
    TOOL = "tool"  #: A tool was called or returned; the token says which.
    ENDED = "ended"  #: The outcome, which the token's kind names.
    SUPERSEDED = "superseded"  #: A record of an attempt that does not count; seen on request only.


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a turn as its reader sees it.

    Attributes:
        kind: What to do.
        token: The record behind it.
        text: The piece to append; empty unless ``TEXT``.
        is_repaired: With ``ENDED``: pieces had been missed, and what went before put them right.
    """

    kind: ChangeKind
    token: Token
    text: str = ""
    is_repaired: bool = False


class TurnFold:
    """Folds one turn's records.

    Args:
        attempt: One that was shown to the reader before.
        is_resumed: Whether the first record may be one in the middle, because the others were read before.
        is_partial: Whether only some of those may have been read: then the end repairs the text.

    Attributes:
        attempt: The highest seen; None before the first record.
        has_gap: Whether a record of that attempt is known to have been missed.
        text: Of that attempt, as far as it was seen; the whole answer at the end where the outcome carries it.
        outcome: The terminal record, once it came.
        is_complete: At the end: whether ``text`` is known to be whole.
    """

    __slots__ = ("_expected", "_is_whole", "_seen", "attempt", "has_gap", "is_complete", "outcome", "text")

    def __init__(self, attempt: Attempt | None = None, *, is_resumed: bool = False, is_partial: bool = False) -> None:
        self.attempt = attempt
        self.text = ""
        self.outcome: Token | None = None
        self.is_complete = False
        #: Whether ``text`` begins with the attempt's first delta. Not so where others were read before a resume.
        self._is_whole = not (is_resumed or is_partial)
        self._begin()
        self.has_gap = is_partial

    def _begin(self) -> None:
        self.text, self._expected, self._seen, self.has_gap = "", 0, 0, False

    def apply(self, token: Token) -> tuple[Change, ...]:
        """Fold a record and return what changed for the reader; a stale or repeated one changes nothing."""
        if self.attempt is not None and token.attempt < self.attempt:
            return ()
        if self.outcome is not None:
            if not is_superseded(self.outcome.attempt, token.attempt):
                return ()
            self.outcome = None
        changes: list[Change] = []
        if self.attempt is None:
            self._first(token, changes)
        elif token.attempt > self.attempt:
            changes.append(Change(ChangeKind.RESET, token))
            self.attempt, self._is_whole = token.attempt, True
            self._begin()
        if token.kind in TERMINAL_KINDS:
            self._end(token, changes)
        elif token.index >= self._expected:
            self.has_gap |= token.index > self._expected
            self._expected = token.index + 1
            self._step(token, changes)
        return tuple(changes)

    def _first(self, token: Token, changes: list[Change]) -> None:
        self.attempt = token.attempt
        if self._is_whole:
            return
        if token.index == 0:
            self._is_whole, self.has_gap = True, False
            if token.kind is TokenKind.SUPERSEDED:  # of what was read before the resume
                changes.append(Change(ChangeKind.RESET, token))
        else:
            self._expected = token.index  # the others were read before

    def _step(self, token: Token, changes: list[Change]) -> None:
        if token.kind is TokenKind.DELTA:
            text = token.text or ""
            self.text += text
            self._seen += 1
            changes.append(Change(ChangeKind.TEXT, token, text))
        elif token.kind is TokenKind.STARTED:
            changes.append(Change(ChangeKind.STARTED, token))
        elif token.kind is TokenKind.TOOL:
            changes.append(Change(ChangeKind.TOOL, token))

    def _end(self, token: Token, changes: list[Change]) -> None:
        self.outcome = token
        shown, whole = self.text, token.text
        if self._is_whole:
            missed = whole is not None and shown != whole
            self.is_complete = whole is not None or token.deltas == self._seen
        else:
            missed = whole is not None and self.has_gap
            self.is_complete = whole is not None
        if whole is not None and missed:
            if self._is_whole and whole.startswith(shown):
                changes.append(Change(ChangeKind.TEXT, token, whole[len(shown) :]))
            else:
                changes += (Change(ChangeKind.RESET, token), Change(ChangeKind.TEXT, token, whole))
        if whole is not None:
            self.text = whole
        changes.append(Change(ChangeKind.ENDED, token, is_repaired=missed))


def is_superseded(ended: Attempt, attempt: Attempt) -> bool:
    """Say whether a turn that ended goes on with ``attempt``: its message was put aside, and was retried since."""
    return ended == PUT_ASIDE and attempt > PUT_ASIDE


class StreamFold:
    """Folds the records of many turns; an ended turn's text is let go.

    Args:
        epoch: Records of a lower epoch are a zombie's: a later owner had written before.
        is_resumed: Whether turns may have begun before the first record: the first of each session alone can.
        is_partial: Whether only some of their records may have been read.
    """

    def __init__(self, *, epoch: int = -1, is_resumed: bool = False, is_partial: bool = False) -> None:
        self._epoch = epoch
        self._is_resumed = is_resumed
        self._is_partial = is_partial
        #: Sessions of which a turn was seen.
        self._sessions: set[str] = set()
        self._turns: dict[tuple[str, str], TurnFold] = {}
        self._ended: OrderedDict[tuple[str, str], Attempt] = OrderedDict()

    @property
    def has_gap(self) -> bool:
        """Whether records of a turn that has not ended were missed."""
        return (self._is_partial and not self._ended) or any(turn.has_gap for turn in self._turns.values())

    def apply(self, token: Token) -> tuple[Change, ...]:
        """As :meth:`TurnFold.apply`, for the record's own turn."""
        key = (token.session_id, token.turn_id)
        ended = self._ended.get(key)
        if token.epoch < self._epoch or (ended is not None and not is_superseded(ended, token.attempt)):
            return ()
        self._epoch = token.epoch
        self._ended.pop(key, None)
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = self._begin(token.session_id, ended)
        changes = turn.apply(token)
        if turn.outcome is not None:
            del self._turns[key]
            self._ended[key] = turn.outcome.attempt
            if len(self._ended) > ENDED_KEPT:
                self._ended.popitem(last=False)
        return changes

    def _begin(self, session_id: str, ended: Attempt | None) -> TurnFold:
        is_first = session_id not in self._sessions
        self._sessions.add(session_id)
        # A later turn's first records were not read before the resume: if they are not seen, they were missed.
        is_partial = self._is_partial or (self._is_resumed and not is_first)
        return TurnFold(ended, is_resumed=self._is_resumed, is_partial=is_partial)
