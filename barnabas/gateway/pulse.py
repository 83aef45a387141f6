"""The pulse of one stream: a sign of life where it is silent, and its end where its client takes nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable


class Pulse:
    """One timer a stream, armed anew only when it fires: an event costs it two assignments.

    Args:
        beat: Called where nothing was written for ``heartbeat_s``.
        give_up: Called where a write has waited for ``send_timeout_s`` or more, at most a heartbeat longer.
        heartbeat_s: In seconds.
        send_timeout_s: In seconds.
    """

    __slots__ = ("_beat", "_give_up", "_heartbeat_s", "_loop", "_send_timeout_s", "_since", "_timer", "_waits")

    def __init__(
        self, beat: Callable[[], object], give_up: Callable[[], object], *, heartbeat_s: float, send_timeout_s: float
    ) -> None:
        self._beat = beat
        self._give_up = give_up
        self._heartbeat_s = heartbeat_s
        self._send_timeout_s = send_timeout_s
        self._loop = asyncio.get_running_loop()
        #: Since when nothing was written, or a write waits.
        self._since = self._loop.time()
        self._waits = False
        # Those who come back together after a restart do not beat together for ever.
        self._timer = self._loop.call_later(self._period_s * random.uniform(0.5, 1.0), self._fire)  # noqa: S311

    def writing(self) -> None:
        """A write begins."""
        self._since, self._waits = self._loop.time(), True

    def written(self) -> None:
        """It is done."""
        self._since, self._waits = self._loop.time(), False

    def stop(self) -> None:
        """No more of it."""
        self._timer.cancel()

    @property
    def _period_s(self) -> float:
        return min(self._heartbeat_s, self._send_timeout_s)

    def _fire(self) -> None:
        silent_s = self._loop.time() - self._since
        limit_s = self._send_timeout_s if self._waits else self._heartbeat_s
        due_s = limit_s - silent_s
        if due_s <= 0:
            (self._give_up if self._waits else self._beat)()
            due_s = self._heartbeat_s
        self._timer = self._loop.call_later(min(due_s, self._period_s), self._fire)
