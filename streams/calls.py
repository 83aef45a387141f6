"""Calls into foreign code that a turn can leave behind: what ignores its cancellation must not hold a lane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a cancelled call may take to clean up before it is left behind, in seconds.
GRACE_S: Final = 2.0


class Calls:
    """Runs calls in tasks of their own, and counts those that were left behind."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        """Give a cancelled call ``grace_s`` to end."""
        self._grace_s = grace_s
        #: How many calls were left behind so far.
        self.abandoned = 0
        self._left: set[asyncio.Task[Any]] = set()

    @property
    def left(self) -> int:
        """How many of them have not ended yet."""
        return len(self._left)

    async def run(self, call: Coroutine[Any, Any, T], name: str, *, on_abandon: Callable[[], None] | None = None) -> T:
        """Return what the call returns, or raise what it raises.

        A cancellation is passed on and obeyed after the grace time at the latest, whatever the call makes of it.
        ``on_abandon`` is told before a call is left behind: nothing that it does from then on may count.

        Raises:
            RuntimeError: The call cancelled itself, which must not look like a cancellation of its caller.
        """
        task = asyncio.create_task(call)
        ended = asyncio.get_running_loop().create_future()

        def end(_task: object) -> None:
            if not ended.done():
                ended.set_result(None)

        task.add_done_callback(end)
        try:
            await ended
        except asyncio.CancelledError:
            try:
                task.cancel()
                await asyncio.wait({task}, timeout=self._grace_s)
            finally:
                if not task.done():
                    if on_abandon is not None:
                        on_abandon()
                    self._abandon(task, name)
                elif not task.cancelled():
                    task.exception()  # taken note of: the cancellation counts
            raise
        if task.cancelled():
            raise RuntimeError(f"{name} cancelled itself")
        return task.result()

    def _abandon(self, task: asyncio.Task[Any], name: str) -> None:
        logger.error("%s does not end when it is cancelled: left behind", name)
        self.abandoned += 1
        self._left.add(task)
        asyncio._unregister_task(task)  # the worker's end must not wait for it, either
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was said above

        task.add_done_callback(self._ended_late)

    def _ended_late(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # taken note of
