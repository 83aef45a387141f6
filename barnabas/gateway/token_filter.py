"""Which of a session's token records a reader is shown: each once, and of one attempt.

Pure. What it says of a record depends on that record and on those of its session before it, not on who reads. A
reader that goes on from a cursor is told the same as one that never left, since the filter is brought to where it was:
the cursor carries the epoch, and the :data:`LOOK_BACK` offsets before it are read again and shown to nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from barnabas.stream_fold import ENDED_KEPT, is_superseded
from schemas.attempt import Attempt
from schemas.tokens import TERMINAL_KINDS, Token

#: Offsets of the partition before a cursor that are read again by who goes on from it. A terminal record that a new
#: owner sends again, because it cannot know whether the last one had, is recognised where its twin lies within them.
LOOK_BACK: Final = 2000


class _Turn(Struct):
    attempt: Attempt
    next_index: int = 0
    has_ended: bool = False


class TokenFilter:
    """Says of one session's records, in log order, which are shown.

    Four kinds are not: of a lower epoch than one before (a zombie's), of a lower attempt of their turn, of an index
    that was there before, and whatever follows the end of a turn, unless its message had been put aside and was
    retried. The newest 64 turns are remembered.

    Args:
        epoch: The highest epoch that was seen before.
    """

    __slots__ = ("_epoch", "_turns")

    def __init__(self, epoch: int = -1) -> None:
        self._epoch = epoch
        self._turns: OrderedDict[str, _Turn] = OrderedDict()

    @property
    def epoch(self) -> int:
        """The highest seen."""
        return self._epoch

    def has_ended(self, turn_id: str) -> bool:
        """Whether a turn's end was seen."""
        turn = self._turns.get(turn_id)
        return turn is not None and turn.has_ended

    def look_back(self, token: Token) -> None:
        """Take notice of a record before the cursor.

        Of the cursor's epoch alone: whether one of a lower epoch counted, only who has read all before it knows, and
        taking a zombie's word for a turn's end would keep its true end from the reader. Nothing is lost by it: what
        the next owner sends again, this one had sent again before it wrote the cursor's record.
        """
        if token.epoch == self._epoch:
            self.shows(token)

    def shows(self, token: Token) -> bool:
        """Take the next record, and say whether it is shown."""
        if token.epoch < self._epoch:
            return False
        self._epoch = token.epoch
        turn = self._turns.get(token.turn_id)
        if turn is None or token.attempt > turn.attempt:
            if turn is not None and turn.has_ended and not is_superseded(turn.attempt, token.attempt):
                return False
            turn = self._turns[token.turn_id] = _Turn(token.attempt)
            self._turns.move_to_end(token.turn_id)
            if len(self._turns) > ENDED_KEPT:
                self._turns.popitem(last=False)
        elif turn.has_ended or token.attempt < turn.attempt:
            return False
        if token.kind in TERMINAL_KINDS:
            turn.has_ended = True
        elif token.index < turn.next_index:
            return False
        turn.next_index = token.index + 1
        return True
