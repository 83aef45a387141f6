"""A session's lane: its messages, decided one at a time, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from streams.incoming import Incoming


class Lane:
    """Runs ``decide`` for each message in turn; gone when it is empty."""

    __slots__ = ("_decide", "_on_empty", "head", "task", "waiting")

    def __init__(self, decide: Callable[[Incoming], Awaitable[None]], on_empty: Callable[[], None]) -> None:
        self._decide = decide
        self._on_empty = on_empty
        self.waiting: deque[Incoming] = deque()
        #: The message being decided.
        self.head: Incoming | None = None
        self.task: asyncio.Task[None] | None = None

    def offer(self, incoming: Incoming) -> None:
        """Put a message at the lane's end; never blocks."""
        self.waiting.append(incoming)
        if self.task is None:
            self.task = asyncio.create_task(self._run())

    def withdraw(self, incoming: Incoming) -> None:
        """Take a waiting message out: it is decided ahead of its turn."""
        self.waiting.remove(incoming)

    async def _run(self) -> None:
        while self.waiting:
            self.head = self.waiting.popleft()
            await self._decide(self.head)
            self.head = None
        self._on_empty()
