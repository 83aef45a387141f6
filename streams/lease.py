"""The lease: how long this worker may believe that its partitions are its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


def boottime() -> float:
    """Seconds since boot, counting the time a machine or process was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Valid from the last good heartbeat for the session time-out (hazard R2).

    The coordinator gives the partitions away when it has not heard from a member for the session time-out. A
    worker that was frozen or cut off for longer must not write; the fold would reject it, but its tokens and
    changelog records would be in the way. Once over it stays over, also while the worker joins again, until it is
    renewed. Written by the consumer's thread (and at an assignment by the event loop), read by the event loop.
    """

    def __init__(
        self, session_timeout_s: float, rebalance_timeout_s: float = 60.0, *, clock: Callable[[], float] = boottime
    ) -> None:
        self._timeout = session_timeout_s
        self._joining_timeout = session_timeout_s + rebalance_timeout_s
        self._clock = clock
        self._renewed_at: float | None = None
        self._joining_since: float | None = None

    def now(self) -> float:
        """The lease's clock, for :meth:`renew`."""
        return self._clock()

    def renew(self, sent_at: float) -> None:
        """Note that the coordinator took us for a member in answer to what was **sent** at ``sent_at``."""
        self._renewed_at = sent_at

    def end(self) -> None:
        """Note that the coordinator does not know us: the lease is over at once, if there ever was one."""
        if self._renewed_at is not None:
            self._renewed_at = -math.inf
        self._joining_since = None

    @property
    def joining(self) -> bool:
        """Whether we wait for a rebalance: the coordinator keeps a waiting member without heartbeats, for a time."""
        return self._joining_since is not None

    @joining.setter
    def joining(self, is_joining: bool) -> None:
        # It keeps a member, not one that it may have forgotten: asking to join revives no lease.
        self._joining_since = self._clock() if is_joining and not self.is_over else None

    @property
    def is_over(self) -> bool:
        """Whether the coordinator may have given the partitions away."""
        renewed_at, joining_since = self._renewed_at, self._joining_since
        if renewed_at is None:
            return False
        if joining_since is not None:
            return self._clock() - joining_since > self._joining_timeout
        return self._clock() - renewed_at > self._timeout
