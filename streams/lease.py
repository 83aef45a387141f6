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

    def __init__(
        self, session_timeout_s: float, rebalance_timeout_s: float = 60.0, *, clock: Callable[[], float] = boottime
    ) -> None:
        self._timeout = session_timeout_s
        self._joining_timeout = session_timeout_s + rebalance_timeout_s
        self._clock = clock
        self._renewed_at: float | None = None
        self._joining_since: float | None = clock()

    def now(self) -> float:
        """The lease's clock, for :meth:`renew`."""
        return self._clock()

    def renew(self, sent_at: float) -> None:
        """Note a good heartbeat that was **sent** at ``sent_at``."""
        self._renewed_at = sent_at

    @property
    def joining(self) -> bool:
        """Whether a rebalance is under way: the coordinator keeps a waiting member without heartbeats, for a time."""
        return self._joining_since is not None

    @joining.setter
    def joining(self, is_joining: bool) -> None:
        self._joining_since = self._clock() if is_joining else None

    @property
    def is_over(self) -> bool:
        """Whether the coordinator may have given the partitions away."""
        if self._renewed_at is None:
            return False
        if self._joining_since is not None:
            return self._clock() - self._joining_since > self._joining_timeout
        return self._clock() - self._renewed_at > self._timeout
