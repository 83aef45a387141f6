"""How long the suite waits: a time without progress, not a time in all, so that a busy machine breaks nothing."""

from __future__ import annotations

import math
import time


class Patience:
    """Begins anew whenever there is less left to wait for than ever before; so it has an end, whatever happens."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._least = math.inf
        self._since = time.monotonic()

    def is_over(self, left: int) -> bool:
        """Whether there has been no progress for too long; ``left`` is what is still waited for."""
        if left < self._least:
            self._least, self._since = left, time.monotonic()
        return time.monotonic() - self._since > self._seconds
