"""How many requests a caller may make."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

#: Callers remembered; beyond it the one that asked longest ago is forgotten, and finds a full bucket.
_MAX_CALLERS: Final = 10_000


class TokenBuckets:
    """A token bucket a caller, each kept as one number: when it will be full again (GCRA).

    Args:
        rate: Tokens that come back in a second.
        burst: Tokens of a full bucket.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, rate: float, burst: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / rate
        self._capacity = burst / rate
        self._now = now
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, caller: Hashable) -> float:
        """Take a token; returns 0, or the seconds to wait where there is none."""
        now = self._now()
        full_at = max(now, self._full_at.get(caller, now)) + self._interval
        wait = full_at - now - self._capacity
        if wait > 1e-9:  # noqa: PLR2004 - what is left of adding fractions
            return wait
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > _MAX_CALLERS:
            self._full_at.popitem(last=False)
        return 0.0

    def wait(self, caller: Hashable) -> float:
        """Return the seconds until there is a token, without taking it."""
        full_at = self._full_at.get(caller)
        if full_at is None:
            return 0.0
        return max(0.0, full_at + self._interval - self._now() - self._capacity)

    def __len__(self) -> int:
        return len(self._full_at)
