"""Back-pressure: the log is the queue. What cannot begin soon stays in Kafka, what is fetched is still delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial

from faust.types import TP

from streams.concurrency import ConcurrencyLimit
from streams.consumer import SessionConsumer
from streams.environment import Environment


class BackPressure:
    """Decides how many messages may be taken, and holds ``events`` while the changelog lags. ``control`` never (P2).

    A message is *admitted* when it is taken from Kafka into its session's lane. Two bounds hold: lanes at work, by
    :class:`ConcurrencyLimit`, so that an admitted turn begins at once; and messages begun and not done, between two
    marks, because a session's messages wait for one another in one lane, and an agent's for its share.
    """

    def __init__(
        self,
        env: Environment,
        active: Callable[[], int],
        is_open: Callable[[int], bool],
        waits_for_slot: Callable[[int, int], bool],
    ) -> None:
        """Take the collaborators.

        Args:
            env: The worker's.
            active: How many lanes are at work.
            is_open: Whether a partition is, by its number.
            waits_for_slot: Whether the message at a partition's offset does.
        """
        self._env = env
        self._active = active
        self._is_open = is_open
        self._waits_for_slot = waits_for_slot
        self._is_flooded = False
        self._was_reached = False
        self.limit = ConcurrencyLimit(env.limits.max_turns)

    def update(self, consumer: SessionConsumer, *, draining: bool, stopped: set[TP]) -> None:
        """Recompute what is held; a few microseconds a partition."""
        limits, names = self._env.limits, self._env.names
        messages = {tp for tp in consumer.cursors if tp.topic == names.messages and tp not in stopped}
        begun = {tp: consumer.cursors[tp].acks.pending for tp in messages if self._is_open(tp.partition)}
        if sum(begun.values()) >= limits.high_water:
            self._is_flooded = True
        elif sum(begun.values()) <= limits.low_water:
            self._is_flooded = False
        held = messages if draining else {tp for tp in begun if self._is_overdue(tp, consumer)}
        if self._is_flooded:
            held |= self._floods(begun)
        if self._env.write_path.unconfirmed > limits.max_unconfirmed:
            held |= {tp for tp in consumer.cursors if tp.topic == names.events}
        consumer.held = held | stopped

    def _floods(self, begun: Mapping[TP, int]) -> set[TP]:
        """Return who holds more than its part: one session's flood, or one agent's queue, holds up nobody else.

        What is begun stays below both marks together and one poll: those who go on do so below their parts of the low.
        """
        part = self._env.limits.low_water / len(begun)
        return {tp for tp, number in begun.items() if number >= part}

    def _is_overdue(self, tp: TP, consumer: SessionConsumer) -> bool:
        """Say whether the commit has waited for a slot as long as a turn may take: the longer, the more comes again."""
        acks = consumer.cursors[tp].acks
        since = acks.oldest_since
        if since is None or time.monotonic() - since <= self._env.limits.turn_timeout_s:
            return False
        return self._waits_for_slot(tp.partition, acks.watermark)

    def wanted(self, consumer: SessionConsumer, room: int) -> set[TP]:
        """Return what to fetch from: all that is not held, but messages only where ``room`` is and lanes run.

        Asked at every poll: what comes before its partition opens is in no lane, and would be counted nowhere.
        """
        messages = self._env.names.messages
        return {
            tp
            for tp in consumer.cursors.keys() - consumer.held
            if tp.topic != messages or (room and self._is_open(tp.partition))
        }

    def room(self, consumer: SessionConsumer) -> int:
        """Return how many messages may be taken now: what is on its way to a lane counts as in one."""
        names = self._env.names
        cursors = (cursor for tp, cursor in consumer.cursors.items() if tp.topic == names.messages)
        coming = sum(max(0, c.fetched - c.handled) for c in cursors)  # a seek may put it behind what is handled
        room = self.limit.value - self._active() + self._env.pool.waiting_for_agent - coming
        self._was_reached |= room <= 0
        return max(0, room)

    def sample(self) -> None:
        """Measure what a pass of the event loop costs; called a few times a second."""
        asyncio.get_running_loop().call_soon(partial(self._sampled, time.thread_time()))

    def _sampled(self, began: float) -> None:
        self.limit.observe(time.thread_time() - began, is_reached=self._was_reached)
        self._was_reached = False
