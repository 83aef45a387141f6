"""Running a tool: within its time, its result and its errors as text for the model."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from streams.calls import Calls
from streams.tools import Tool, ToolContext

logger = logging.getLogger(__name__)

#: Threads of plain functions at once, a tool: one that hangs keeps its thread, and must not take all memory.
MAX_THREADS: Final = 64


class ToolOutput(NamedTuple):
    """What the model reads; ``is_error`` where it says what went wrong."""

    text: str
    is_error: bool = False


class ToolRunner:
    """Runs calls; a call is given up at its tool's time-out, whether the function heeds it or not."""

    def __init__(self, calls: Calls) -> None:
        """``calls`` leaves behind what ignores its end."""
        self._calls = calls
        self._threads: dict[str, asyncio.Semaphore] = {}

    async def run(self, tool: Tool, arguments: str, context: ToolContext) -> ToolOutput:
        """Make one call; never raises but for its own cancellation."""
        try:
            bound = tool.bind(arguments, context)
        except msgspec.MsgspecError as error:
            return ToolOutput(f"the arguments do not fit: {error}", is_error=True)
        name = f"tool {tool.name} of turn {context.turn_id}"
        scope = asyncio.timeout(tool.timeout_s)
        try:
            async with scope:
                return _output(await self._calls.run(self._call(tool, bound), name))
        except Exception as error:
            if isinstance(error, TimeoutError) and scope.expired():
                logger.warning("%s took longer than %g s", name, tool.timeout_s)
                return ToolOutput(f"no result within {tool.timeout_s:g} s; it may still take effect", is_error=True)
            logger.warning("%s failed", name, exc_info=True)
            return ToolOutput(f"{type(error).__name__}: {error}", is_error=True)

    async def _call(self, tool: Tool, bound: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(tool.function):
            return await tool.function(**bound)
        return await self._in_thread(tool, bound)

    async def _in_thread(self, tool: Tool, bound: dict[str, Any]) -> Any:
        """Run a plain function in a thread of its own: one that hangs must not keep the process from ending."""
        slots = self._threads.setdefault(tool.name, asyncio.Semaphore(MAX_THREADS))
        await slots.acquire()
        loop, answer, variables = asyncio.get_running_loop(), Future[Any](), contextvars.copy_context()
        answer.set_running_or_notify_cancel()  # giving up the wait does not end the thread

        def run() -> None:
            try:
                answer.set_result(variables.run(tool.function, **bound))
            except BaseException as error:  # noqa: BLE001 -- raised again where it is waited for
                answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            with suppress(RuntimeError):  # the loop is closed: the worker has ended
                loop.call_soon_threadsafe(slots.release)

        threading.Thread(target=run, daemon=True, name=f"barnabas-tool-{tool.name}").start()
        return await asyncio.wrap_future(answer)


def _output(result: Any) -> ToolOutput:
    if result is None or isinstance(result, str):
        return ToolOutput(result or "")
    try:
        return ToolOutput(msgspec.json.encode(result).decode())
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        return ToolOutput(f"its result cannot be sent as JSON: {error}", is_error=True)
