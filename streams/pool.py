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
        #: Longest wait for a slot, in seconds.
        self.timeout_s = pool_timeout_s
        #: Turns that wait for a share of their own agent; they keep no other agent's turns from being admitted.
        self.waiting_for_agent = 0

    def slot(self, agent: Agent) -> Slot:
        """Return a slot of the agent and of the worker, to be entered: ``async with pool.slot(agent)``."""
        own = self._by_agent.get(agent.name)
        if own is None:
            own = self._by_agent[agent.name] = asyncio.Semaphore(agent.max_concurrent_turns)
        return Slot(own, self._slots, self, agent.name)


class Slot:
    """One turn's share of both bounds, held while entered."""

    __slots__ = ("_agent", "_own", "_pool", "_shared")

    def __init__(self, own: asyncio.Semaphore, shared: asyncio.Semaphore, pool: TurnPool, agent: str) -> None:
        self._own = own
        self._shared = shared
        self._pool = pool
        self._agent = agent

    @property
    def is_free(self) -> bool:
        """Whether entering would not wait."""
        return not self._own.locked() and not self._shared.locked()

    async def __aenter__(self) -> None:
        """Take both.

        Raises:
            PoolTimeoutError: They did not become free within ``pool_timeout``.
        """
        if self.is_free:
            await self._own.acquire()
            await self._shared.acquire()
            return
        try:
            async with asyncio.timeout(self._pool.timeout_s):
                self._pool.waiting_for_agent += 1
                try:
                    await self._own.acquire()
                finally:
                    self._pool.waiting_for_agent -= 1
                try:
                    await self._shared.acquire()
                except BaseException:
                    self._own.release()
                    raise
        except TimeoutError:
            raise PoolTimeoutError(f"no slot for agent {self._agent} within {self._pool.timeout_s:g} s") from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shared.release()
        self._own.release()
