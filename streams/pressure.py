"""Back-pressure: fetching is held while too much is begun and not done; what is fetched is still delivered."""

from __future__ import annotations

from faust.types import TP

from streams.consumer import SessionConsumer
from streams.environment import Environment


class BackPressure:
    """Holds ``messages`` between two marks, and ``events`` while the changelog lags (P2). ``control`` never."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._messages_held = False

    def update(self, consumer: SessionConsumer, *, draining: bool, stopped: set[TP]) -> None:
        """Recompute what is held; a few microseconds a partition."""
        limits, names = self._env.limits, self._env.names
        messages = {tp for tp in consumer.cursors if tp.topic == names.messages and tp not in stopped}
        begun = sum(consumer.cursors[tp].acks.pending for tp in messages)
        if begun >= limits.high_water:
            self._messages_held = True
        elif begun <= limits.low_water:
            self._messages_held = False
        held: set[TP] = set(messages) if self._messages_held or draining else set()
        if self._env.write_path.unconfirmed > limits.max_unconfirmed:
            held |= {tp for tp in consumer.cursors if tp.topic == names.events}
        consumer.held = held | stopped
