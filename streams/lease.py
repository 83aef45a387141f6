"""The lease: how long this worker may believe that its partitions are its own."""

from __future__ import annotations

import time
from collections.abc import Callable


def boottime() -> float:
    """Seconds since boot, counting the time a machine or process was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Valid from the last good heartbeat for the session time-out (hazard R2).

    The coordinator gives the partitions away when it has not heard from a member for the session time-out. A
    worker that was frozen or cut off for longer must not write; the fold would reject it, but its tokens and
    changelog records would be in the way. Written by the consumer's thread, read by the event loop.
    """

    def __init__(self, session_timeout_s: float, *, clock: Callable[[], float] = boottime) -> None:
        self._timeout = session_timeout_s
        self._clock = clock
        self._renewed_at: float | None = None
        #: While a rebalance is under way the coordinator keeps a waiting member without heartbeats.
        self.joining = True

    def now(self) -> float:
        """The lease's clock, for :meth:`renew`."""
        return self._clock()

    def renew(self, sent_at: float) -> None:
        """Note a good heartbeat that was **sent** at ``sent_at``."""
        self._renewed_at = sent_at

    @property
    def is_over(self) -> bool:
        """Whether the coordinator may have given the partitions away."""
        if self.joining or self._renewed_at is None:
            return False
        return self._clock() - self._renewed_at > self._timeout
