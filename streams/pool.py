"""Slots for running turns: so many a worker, so many an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schemas.errors import PoolTimeoutError
from streams.agent import Agent


class TurnPool:
    """Bounds how many turns run at once; one that waits too long fails with that cause."""

    def __init__(self, *, max_turns: int, pool_timeout_s: float) -> None:
        self._slots = asyncio.Semaphore(max_turns)
        self._by_agent: dict[str, asyncio.Semaphore] = {}
        self._timeout_s = pool_timeout_s
        self.running = 0

    @asynccontextmanager
    async def slot(self, agent: Agent) -> AsyncIterator[None]:
        """Hold a slot of the agent and of the worker.

        Raises:
            PoolTimeoutError: None became free within ``pool_timeout``.
        """
        own = self._by_agent.get(agent.name)
        if own is None:
            own = self._by_agent[agent.name] = asyncio.Semaphore(agent.max_concurrent_turns)
        await self._acquire(own, agent.name)
        try:
            await self._acquire(self._slots, agent.name)
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1
                self._slots.release()
        finally:
            own.release()

    async def _acquire(self, semaphore: asyncio.Semaphore, agent: str) -> None:
        if not semaphore.locked():
            await semaphore.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await semaphore.acquire()
        except TimeoutError:
            msg = f"no slot for agent {agent} within {self._timeout_s:g} s"
            raise PoolTimeoutError(msg) from None
