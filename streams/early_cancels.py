"""Cancels that came before their messages: remembered for a turn's longest time, bounded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from state.overlay import Receipt


class EarlyCancel(NamedTuple):
    """A cancel whose message has not come yet."""

    reason: str
    acknowledge: Receipt
    timer: asyncio.TimerHandle


class EarlyCancels:
    """One partition's; what is forgotten is acknowledged, so that the commit of its controls goes on."""

    def __init__(self, *, most: int, keep_s: float) -> None:
        """Remember at most ``most``, each for ``keep_s`` seconds."""
        self._most = most
        self._keep_s = keep_s
        self._by_target: OrderedDict[tuple[bytes, str], EarlyCancel] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_target)

    def remember(self, key: bytes, target: str, reason: str, acknowledge: Receipt) -> None:
        """Keep a cancel of a message or turn of the session ``key``; the oldest goes where there are too many."""
        place = (key, target)
        self._forget(place)  # one for the same message came before
        timer = asyncio.get_running_loop().call_later(self._keep_s, self._forget, place)
        self._by_target[place] = EarlyCancel(reason, acknowledge, timer)
        if len(self._by_target) > self._most:
            self._forget(next(iter(self._by_target)))

    def take(self, key: bytes, *targets: str) -> EarlyCancel | None:
        """Return the cancel of a message that has come, by one of its ids; it is the caller's to acknowledge."""
        for target in targets:
            early = self._by_target.pop((key, target), None)
            if early is not None:
                early.timer.cancel()
                return early
        return None

    def clear(self) -> None:
        """Drop all, unacknowledged: they are delivered again."""
        for early in self._by_target.values():
            early.timer.cancel()
        self._by_target.clear()

    def _forget(self, place: tuple[bytes, str]) -> None:
        early = self._by_target.pop(place, None)
        if early is not None:
            early.timer.cancel()
            early.acknowledge()
