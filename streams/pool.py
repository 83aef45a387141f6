"""Slots for running turns: so many a worker, so many an agent."""

from __future__ import annotations

import asyncio
from types import TracebackType

from schemas.errors import PoolTimeoutError
from streams.agent import Agent


class TurnPool:
    """Bounds how many turns run at once; one that waits too long fails with that cause."""

    def __init__(self, *, max_turns: int, pool_timeout_s: float) -> None:
        self._slots = asyncio.Semaphore(max_turns)
        self._by_agent: dict[str, asyncio.Semaphore] = {}
        self._timeout_s = pool_timeout_s
        self.running = 0

    def slot(self, agent: Agent) -> Slot:
        """Hold a slot of the agent and of the worker: ``async with pool.slot(agent)``.

        Entering raises PoolTimeoutError where none became free within ``pool_timeout``.
        """
        return Slot(self, agent)

    async def acquire(self, agent: Agent) -> asyncio.Semaphore:
        """Take both slots; returns the agent's, for :meth:`release`."""
        own = self._by_agent.get(agent.name)
        if own is None:
            own = self._by_agent[agent.name] = asyncio.Semaphore(agent.max_concurrent_turns)
        await self._take(own, agent.name)
        try:
            await self._take(self._slots, agent.name)
        except BaseException:
            own.release()
            raise
        self.running += 1
        return own

    def release(self, own: asyncio.Semaphore) -> None:
        """Give both slots back."""
        self.running -= 1
        self._slots.release()
        own.release()

    async def _take(self, semaphore: asyncio.Semaphore, agent: str) -> None:
        if not semaphore.locked():
            await semaphore.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await semaphore.acquire()
        except TimeoutError:
            raise PoolTimeoutError(f"no slot for agent {agent} within {self._timeout_s:g} s") from None


class Slot:
    """One turn's slots, held while entered."""

    __slots__ = ("_agent", "_own", "_pool")

    def __init__(self, pool: TurnPool, agent: Agent) -> None:
        self._pool = pool
        self._agent = agent
        self._own: asyncio.Semaphore | None = None

    async def __aenter__(self) -> None:
        self._own = await self._pool.acquire(self._agent)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            self._pool.release(self._own)
