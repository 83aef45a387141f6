"""One partition's fold: which epoch was in force at which offset."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from msgspec.structs import replace

from schemas.events import PartitionOpened, SessionEvent
from schemas.session import PartitionState, Session
from state.fold import Verdict, fold

#: How many openings a partition remembers. Records behind the oldest of them are long folded.
EPOCHS_KEPT: Final = 64


class PartitionFold:
    """Folds a partition's records in log order, for the projector, a reader and the audit alike.

    The epoch of a record is the offset of the last ``PartitionOpened`` before it. A few openings are kept, so
    that records delivered again (a commit lags behind the fold) are judged by the epoch of their own place.
    """

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        #: The last opening met again in a refold, older than those remembered; -1 for none.
        self._replayed = -1

    @property
    def epoch(self) -> int:
        """The partition's current epoch, -1 before the first opening."""
        return self.state.epochs[-1] if self.state.epochs else -1

    def epoch_at(self, offset: int) -> int:
        """Return the epoch in force for the record at ``offset``; -1 if none is remembered."""
        epochs = self.state.epochs
        if epochs and offset > epochs[-1]:
            return epochs[-1]
        index = bisect_left(epochs, offset)
        if index:
            return epochs[index - 1]
        return self._replayed if self._replayed < offset else -1

    def open(self, event: PartitionOpened, *, offset: int) -> bool:
        """Fold an opening; False if it was folded before."""
        if offset <= self.state.folded:
            self._replayed = offset
            return False
        epochs = (*self.state.epochs, offset)[-EPOCHS_KEPT:]
        self.state = replace(self.state, folded=offset, epochs=epochs, owner=event.owner)
        return True

    def apply(self, session: Session, event: SessionEvent, *, offset: int) -> tuple[Session, Verdict]:
        """Fold a session's event at ``offset``; a rejected one returns the very same session."""
        return fold(session, event, offset=offset, epoch=self.epoch_at(offset))
