"""Slots for running turns: so many a worker, so many an agent."""

from __future__ import annotations

import asyncio

from streams.agent import Agent


class Share:
    """So many turns at once, first come, first served."""

    __slots__ = ("_free", "granted", "waiting")

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        #: How many were ever let in: whoever waits is not stuck while this grows.
        self.granted = 0
        #: How many wait.
        self.waiting = 0

    @property
    def is_free(self) -> bool:
        """Whether taking one would not wait."""
        return not self._free.locked()

    async def take(self) -> None:
        """Take one; waits as long as it takes."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.granted += 1

    def give_back(self) -> None:
        """Let the next one in."""
        self._free.release()


class TurnPool:
    """Bounds how many turns run at once. What waits here was taken from Kafka, and waits as it would wait there."""

    def __init__(self, *, max_turns: int) -> None:
        self._slots = Share(max_turns)
        self._by_agent: dict[str, Share] = {}

    @property
    def waiting_for_agent(self) -> int:
        """Turns that wait for a share of their own agent; they keep no other agent's turns from being admitted."""
        return sum(share.waiting for share in self._by_agent.values())

    def slot(self, agent: Agent) -> Slot:
        """Return a slot of the agent and of the worker, to be entered: ``async with pool.slot(agent)``."""
        own = self._by_agent.get(agent.name)
        if own is None:
            own = self._by_agent[agent.name] = Share(agent.max_concurrent_turns)
        return Slot(own, self._slots)


class Slot:
    """One turn's share of both bounds, held while entered."""

    __slots__ = ("_own", "_shared")

    def __init__(self, own: Share, shared: Share) -> None:
        self._own = own
        self._shared = shared

    @property
    def is_free(self) -> bool:
        """Whether entering would not wait."""
        return self._own.is_free and self._shared.is_free

    @property
    def progress(self) -> tuple[int, int]:
        """Moves within a turn's longest time for as long as those who hold what it waits for are well.

        Of the worker's slots only while somebody waits for them: the agent's own holders may.
        """
        return self._own.granted, self._shared.granted if self._shared.waiting else 0

    async def __aenter__(self) -> None:
        """Take both, however long it takes: a message is never failed because others are being answered."""
        await self._own.take()
        try:
            await self._shared.take()
        except BaseException:
            self._own.give_back()
            raise

    async def __aexit__(self, *_args: object) -> None:
        self._shared.give_back()
        self._own.give_back()
