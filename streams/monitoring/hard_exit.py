"""The last resort: the process ends within a bound, whatever hangs in it."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

#: How long the last words may take: what hangs may hold the log's lock, or nobody may read it.
_LAST_WORDS_S: Final = 2.0


class HardExit:
    """A deadline for the process itself, kept by a thread of its own; exit code 1."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._at = float("inf")

    def within(self, seconds: float, what: str) -> None:
        """End the process after ``seconds`` unless :meth:`cancel` comes first; of several deadlines the first counts.

        ``what`` is said in the log: what did not happen in time.
        """
        at = time.monotonic() + seconds
        if at >= self._at:
            return
        self.cancel()
        self._at = at
        self._timer = threading.Timer(seconds, self.now, (f"{what} within {seconds:g} s",))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Let the process live."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at = None, float("inf")

    def now(self, why: str, *, thread: int | None = None) -> NoReturn:
        """End the process: a critical line, and the stack of ``thread`` (default: of all threads) on stderr."""
        silent = threading.Timer(_LAST_WORDS_S, os._exit, (1,))
        silent.daemon = True
        silent.start()
        frame = sys._current_frames().get(thread) if thread is not None else None
        if frame is not None:
            why += "; it stands at\n" + "".join(traceback.format_stack(frame)).rstrip()
        else:
            faulthandler.dump_traceback(file=2)
        logger.critical("the process ends: %s", why)
        os._exit(1)
