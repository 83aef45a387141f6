"""The event loop's pulse, and the thread that notices when it stops."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from streams.monitoring.histogram import Histogram

logger = logging.getLogger(__name__)

#: How often the loop is asked to come by, in seconds.
PULSE_S: Final = 0.1

_LONGEST_TICK_S: Final = 0.5


class Pulse:
    """Beats on the event loop, and measures how late each beat is."""

    def __init__(self, delay: Histogram) -> None:
        """Take the histogram of delays, in seconds."""
        self._delay = delay
        self.beats = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + PULSE_S
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self.beats += 1
        now = self._loop.time()
        self._delay.observe(max(0.0, now - self._due))
        self._due = now + PULSE_S
        self._timer = self._loop.call_at(self._due, self._beat)


class LoopWatch:
    """A thread that counts how long the pulse has not beaten.

    Only time in which this thread ran counts: a process that was stopped (SIGSTOP, a suspended machine) is not blocked.
    Where even this thread cannot run, because something holds the interpreter's lock, ``faulthandler`` ends the
    process after ``bound_s + slack_s``: its timer needs no interpreter. It cannot tell a SIGSTOP of that length from
    it, and ends such a process as well: its partitions are long another's.
    """

    def __init__(
        self, pulse: Pulse, *, bound_s: float, slack_s: float, on_blocked: Callable[[float, int], None]
    ) -> None:
        """Watch the loop of the current thread; ``on_blocked(seconds, thread id)`` is called once, from the thread."""
        self._pulse = pulse
        self._bound_s = bound_s
        self._unresponsive_s = bound_s + slack_s
        self._on_blocked = on_blocked
        self._tick_s = min(_LONGEST_TICK_S, bound_s / 8)
        self._watched = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="barnabas-loop-watch", daemon=True)
        #: How long the loop has been blocked, in seconds; 0 while it runs.
        self.blocked_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        beats, last, armed_at = -1, time.monotonic(), float("-inf")
        while not self._stop.wait(self._tick_s):
            now = time.monotonic()
            if now - armed_at > self._bound_s / 4:
                faulthandler.dump_traceback_later(self._unresponsive_s, exit=True, file=2)
                armed_at = now
            if beats != self._pulse.beats:
                beats, self.blocked_s = self._pulse.beats, 0.0
            else:
                self.blocked_s += min(now - last, 2 * self._tick_s)
                if self.blocked_s > self._bound_s:
                    self._on_blocked(self.blocked_s, self._watched)
                    return
            last = now
