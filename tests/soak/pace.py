"""How long a soak measures: for a time, long enough to judge, and longer while the figures are not flat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.soak.trend import MIN_POINTS

#: A cache that fills late is no leak, and on a busy machine the time alone leaves too few points.
_PATIENCE = 3

#: ``(what, part)``: what is measured, and which part of its time is over.
OnCycle = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one measurement.

    Attributes:
        seconds: How long it measures, unless that is too little for a judgement.
        on_cycle: Told after each cycle, for a progress bar.
        patience: How many times its own time, and its least number of cycles, it may take to become flat.
    """

    seconds: float
    on_cycle: OnCycle
    patience: int = _PATIENCE

    def cycles(
        self, what: str, *, at_least: int = MIN_POINTS, is_flat: Callable[[], bool] = lambda: True
    ) -> Iterator[int]:
        """Count cycles: until the time is over and there are enough of them, and on until ``is_flat()``."""
        began = time.monotonic()
        number = 0
        while True:
            spent = time.monotonic() - began
            self.on_cycle(what, min(1.0, spent / self.seconds))
            is_long_enough = number >= at_least and spent >= self.seconds
            is_over = number >= self.patience * at_least and spent >= self.patience * self.seconds
            if is_long_enough and (is_over or is_flat()):
                return
            number += 1
            yield number
