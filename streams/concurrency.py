"""How many turns may be under way at once: as many as the event loop can carry without making each of them wait."""

from __future__ import annotations

import math
from typing import Final

#: What one pass of the event loop may cost, in seconds of CPU. A turn takes some ten passes to its first token.
TARGET_PASS_S: Final = 0.010

#: Turns that are always allowed: below that the broker's round trips, not the loop, decide the rate.
FLOOR: Final = 32

#: Weight of a new sample. Samples come every 50 ms: a burst of a tenth of a second does not move the limit far.
_WEIGHT: Final = 0.3

#: The most that one sample takes away.
_STEEPEST: Final = 0.8


class ConcurrencyLimit:
    """A gradient limit (as in Netflix's concurrency-limits) on the CPU time of a pass of the event loop.

    A fixed limit is either too low for turns that wait for a model or too high for turns that cost CPU: a thousand
    of the latter share one loop, and each of a turn's steps waits for a step of all the others. CPU time, not wall
    time, because a neighbour on the machine must not make the worker admit less.
    """

    __slots__ = ("_is_probing", "_limit", "_most", "_pass_s")

    def __init__(self, most: int) -> None:
        """Begin low, and never go above ``most`` turns."""
        self._most = float(most)
        self._limit = min(self._most, 2.0 * FLOOR)
        self._pass_s = 0.0
        #: Nothing was ever too much: double instead of feeling the way.
        self._is_probing = True

    @property
    def value(self) -> int:
        """The limit, in turns."""
        return int(self._limit)

    @property
    def pass_s(self) -> float:
        """CPU time of a pass of the loop, smoothed, in seconds."""
        return self._pass_s

    def observe(self, pass_s: float, *, is_reached: bool) -> None:
        """Take a sample; the limit grows only where it was reached, and shrinks whenever a pass costs too much."""
        self._pass_s += _WEIGHT * (pass_s - self._pass_s)
        if self._pass_s > TARGET_PASS_S:
            self._is_probing = False
            gradient = max(_STEEPEST, TARGET_PASS_S / self._pass_s)
            self._limit = gradient * self._limit + math.sqrt(self._limit)
        elif is_reached:
            self._limit += self._limit if self._is_probing else math.sqrt(self._limit)
        self._limit = min(self._most, max(FLOOR, self._limit))
