"""How many streams a caller has open."""

from __future__ import annotations

from collections.abc import Hashable


class StreamCounts:
    """Counts streams, a caller each; a caller without any is forgotten.

    Args:
        limit: That one caller may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[Hashable, int] = {}

    def is_full(self, caller: Hashable) -> bool:
        """Whether it may open no more."""
        return self._open.get(caller, 0) >= self._limit

    def place(self, caller: Hashable) -> Place:
        """Return a place for a stream of the caller, not taken yet; of one that is None nothing is counted."""
        return Place(self._open, caller)

    def __len__(self) -> int:
        return sum(self._open.values())


class Place:
    """One stream's, once it is one."""

    __slots__ = ("_caller", "_is_taken", "_open")

    def __init__(self, open_streams: dict[Hashable, int], caller: Hashable) -> None:
        self._open = open_streams
        self._caller = caller
        self._is_taken = False

    def take(self) -> None:
        """Count the stream; repeatable."""
        if not self._is_taken and self._caller is not None:
            self._is_taken = True
            self._open[self._caller] = self._open.get(self._caller, 0) + 1

    def give_back(self) -> None:
        """Count it no longer; repeatable."""
        if self._is_taken:
            self._is_taken = False
            left = self._open.pop(self._caller) - 1
            if left:
                self._open[self._caller] = left
