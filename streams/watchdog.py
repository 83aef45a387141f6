"""The watchdog: a worker that makes no progress ends, instead of holding its partitions with good heartbeats (F10)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from faust.types import TP

from streams.environment import Environment
from streams.ownership import Ownership
from streams.partition import Phase

#: Slack on top of a bound that the worker keeps by itself, in seconds.
SLACK_S: Final = 60.0


class Watchdog:
    """Looks for what should have moved and did not; asked about once a second."""

    def __init__(
        self,
        env: Environment,
        ownership: Ownership,
        *,
        slack_s: float = SLACK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the collaborators; ``slack_s`` is added to every bound."""
        self._env = env
        self._ownership = ownership
        self._slack = slack_s
        self._clock = clock
        #: What is waited for, and since when it has stood as it stands.
        self._since: dict[object, tuple[object, float]] = {}

    def stuck(self) -> str | None:
        """Return what is stuck, None while all is well.

        Nothing can move without the broker: while heartbeats fail, no time counts.
        """
        if self._env.lease.is_over:
            self._since.clear()
            return None
        limits, ownership = self._env.limits, self._ownership
        if not ownership.is_settled:
            bound_s = limits.recovery_timeout_s
            return self._unchanged("recovery", ownership.generation, bound_s, "recovery has not ended")
        self._since.pop("recovery", None)
        if not ownership.owned:
            return None
        polled = self._unchanged("poll", ownership.consumer.polls, 0.0, "the consumer no longer polls")
        return polled or self._stuck_partition()

    def _stuck_partition(self) -> str | None:
        limits = self._env.limits
        turn_s = limits.turn_timeout_s + limits.pool_timeout_s
        for number, partition in self._ownership.partitions.items():
            if partition.phase is Phase.STOPPED:
                continue
            cursor = self._ownership.consumer.cursors.get(TP(self._env.names.messages, number))
            waits = partition.phase is not Phase.OPEN or (cursor is not None and cursor.acks.pending > 0)
            if not waits:
                self._since.pop(number, None)
                continue
            # The oldest message is the first of its lane: it is done within a turn's bound. A partition that is
            # opened again and again without it is stuck as well; one that folds its past, not open yet, is not.
            watermark = cursor.acks.watermark if cursor is not None else -1
            events = self._ownership.consumer.cursors.get(TP(self._env.names.events, number))
            folded = events.handled if events is not None and partition.epoch < 0 else -1
            stuck = self._unchanged(number, (watermark, folded), turn_s, f"partition {number} stands at {watermark}")
            if stuck is not None:
                return stuck
        return None

    def _unchanged(self, name: object, state: object, bound_s: float, what: str) -> str | None:
        now = self._clock()
        known = self._since.get(name)
        if known is None or known[0] != state:
            self._since[name] = (state, now)
            return None
        stood = now - known[1]
        return f"{what} for {stood:.0f} s" if stood > bound_s + self._slack else None
