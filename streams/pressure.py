"""Back-pressure: the log is the queue. What cannot begin soon stays in Kafka, what is fetched is still delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from faust.types import TP

from streams.concurrency import ConcurrencyLimit
from streams.consumer import SessionConsumer
from streams.environment import Environment


class BackPressure:
    """Decides how many messages may be taken, and holds ``events`` while the changelog lags. ``control`` never (P2).

    A message is *admitted* when it is taken from Kafka into its session's lane. Two bounds hold: lanes at work, by
    :class:`ConcurrencyLimit`, so that an admitted turn begins at once; and messages begun and not done, between two
    marks, because a session's messages wait for one another in one lane.
    """

    def __init__(self, env: Environment, active: Callable[[], int], is_open: Callable[[int], bool]) -> None:
        """Take the collaborators; ``active()`` says how many lanes are at work, ``is_open(number)`` of a partition."""
        self._env = env
        self._active = active
        self._is_open = is_open
        #: Whether messages are held for partitions that are not open.
        self.awaits_opening = False
        self._is_flooded = False
        self._was_reached = False
        self.limit = ConcurrencyLimit(env.limits.max_turns)

    def update(self, consumer: SessionConsumer, *, draining: bool, stopped: set[TP]) -> None:
        """Recompute what is held; a few microseconds a partition."""
        limits, names = self._env.limits, self._env.names
        messages = {tp for tp in consumer.cursors if tp.topic == names.messages and tp not in stopped}
        unopened = {tp for tp in messages if not self._is_open(tp.partition)}  # its messages would only pile up
        self.awaits_opening = bool(unopened)
        begun = sum(consumer.cursors[tp].acks.pending for tp in messages - unopened)
        if begun >= limits.high_water:
            self._is_flooded = True
        elif begun <= limits.low_water:
            self._is_flooded = False
        held: set[TP] = set(messages) if self._is_flooded or draining else unopened
        if self._env.write_path.unconfirmed > limits.max_unconfirmed:
            held |= {tp for tp in consumer.cursors if tp.topic == names.events}
        consumer.held = held | stopped

    def room(self, consumer: SessionConsumer) -> int:
        """Return how many messages may be taken now: what is on its way to a lane counts as in one."""
        names = self._env.names
        coming = sum(c.fetched - c.handled for tp, c in consumer.cursors.items() if tp.topic == names.messages)
        room = self.limit.value - self._active() + self._env.pool.waiting_for_agent - coming
        self._was_reached |= room <= 0
        return max(0, room)

    def sample(self) -> None:
        """Measure what a pass of the event loop costs; called a few times a second."""
        asyncio.get_running_loop().call_soon(partial(self._sampled, time.thread_time()))

    def _sampled(self, began: float) -> None:
        self.limit.observe(time.thread_time() - began, is_reached=self._was_reached)
        self._was_reached = False
