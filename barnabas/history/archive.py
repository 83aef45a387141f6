"""The history for an event loop: one question at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from barnabas.connection import Connection
from barnabas.history.history import History
from barnabas.history.indexer import OnProgress

_Result = TypeVar("_Result")


class Archive:
    """The history and its thread: the user's default executor stays free, however many ask."""

    def __init__(self, connection: Connection, on_progress: OnProgress | None = None) -> None:
        self._history = History(connection, on_progress)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="barnabas-history")

    async def ask(self, question: Callable[[History], _Result]) -> _Result:
        """Return what ``question(history)`` returns; raises as it does.

        Raises:
            ClientError: It was closed meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._history)

    async def close(self) -> None:
        """End what is being read, also for one that nobody waits for any more, and release everything."""
        self._history.stop()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._history.close)
        self._thread.shutdown()
