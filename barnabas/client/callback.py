"""A user's callback for the parts of an answer: in order, apart from the reading, its errors kept from it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from barnabas.client.messages import Part

logger = logging.getLogger(__name__)

#: Sync or async; what it returns is dropped.
OnToken = Callable[[Part], Awaitable[object] | object]

#: Parts that may wait for a slow callback; then its own stream waits, and nobody else's.
QUEUED: Final = 256


class CallbackQueue:
    """Calls ``on_token`` for each part, one at a time: an async one in a task, a sync one in a thread of its own.

    An error of the callback is logged and the next part follows: a screen that fails does not end a turn.
    """

    def __init__(self, on_token: OnToken) -> None:
        self._on_token = on_token
        is_async = inspect.iscoroutinefunction(on_token) or inspect.iscoroutinefunction(type(on_token).__call__)
        # Not the loop's own threads: a few slow callbacks would take them all.
        self._thread = None if is_async else ThreadPoolExecutor(1, "barnabas-on-token")
        self._queue: asyncio.Queue[Part | None] = asyncio.Queue(QUEUED)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def put(self, part: Part) -> None:
        """Have a part handed over; waits while too many wait."""
        await self._queue.put(part)

    async def join(self) -> None:
        """Wait until every part was handed over."""
        await self._queue.put(None)
        await self._task

    async def aclose(self) -> None:
        """End: hand no further part over, and wait for a call that is under way. Repeatable."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    async def _run(self) -> None:
        while (part := await self._queue.get()) is not None:
            try:
                result = await self._call(part)
                if inspect.isawaitable(result):
                    await result
            except (Exception, asyncio.CancelledError) as error:
                # Not every cancellation is this task's: the callback may have waited for something that was cancelled.
                if isinstance(error, asyncio.CancelledError) and self._task.cancelling():
                    raise
                logger.exception("on_token failed at %s of turn %s", part.cursor, part.token.turn_id)

    async def _call(self, part: Part) -> object:
        if self._thread is None:
            return self._on_token(part)
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._thread, context.run, self._on_token, part)
