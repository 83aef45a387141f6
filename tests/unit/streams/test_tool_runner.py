"""Running tools: results and errors as text, time-outs that hold whatever the function does."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from streams.calls import Calls
from streams.tool_runner import MAX_THREADS, ToolOutput, ToolRunner
from streams.tools import Tool, ToolContext, tool
from tests.support.effects import broken
from tests.support.waiting import eventually

CONTEXT = ToolContext(session_id="s", turn_id="t", message_id="m", step=0, call_id="c")


async def _run(called: Tool, arguments: str = "{}") -> ToolOutput:
    return await _runner().run(called, arguments, CONTEXT)


def _runner(calls: Calls | None = None) -> ToolRunner:
    return ToolRunner(calls or Calls(grace_s=0.2))


async def test_run_results_text_as_it_is_and_the_rest_as_json() -> None:
    """None is nothing; what JSON cannot say is an error."""
    values: list[Any] = ["text", None, {"a": [1, 2.5]}, object()]

    @tool
    def give(number: int) -> Any:
        return values[number]

    outputs = [await _run(give, f'{{"number": {number}}}') for number in range(4)]
    assert outputs[:3] == [ToolOutput("text"), ToolOutput(""), ToolOutput('{"a":[1,2.5]}')]
    assert outputs[3].is_error


async def test_run_errors_are_told_to_the_model() -> None:
    """What a tool raises, and arguments that do not fit."""
    assert await _run(broken) == ToolOutput("ValueError: it broke", is_error=True)

    @tool
    def leave() -> None:
        raise SystemExit(3)

    assert await _run(leave) == ToolOutput("RuntimeError: SystemExit(3)", is_error=True)
    wrong = await _run(broken, '{"more": 1}')
    assert wrong.is_error
    assert "arguments do not fit" in wrong.text


class Stuck:
    """Tools that go on, whatever is done to them, until the test lets them go."""

    def __init__(self) -> None:
        go_on, free = asyncio.Event(), threading.Event()

        def let_go() -> None:
            go_on.set()
            free.set()

        self.let_go = let_go

        @tool(timeout_s=0.1)
        async def hang() -> str:
            while not go_on.is_set():
                with suppress(asyncio.CancelledError):
                    await go_on.wait()
            return "too late"

        @tool(timeout_s=0.1)
        def block() -> str:
            free.wait()
            return "too late"

        self.hang, self.block = hang, block


@pytest.fixture
async def stuck() -> AsyncIterator[Stuck]:
    """Give tools that do not end; they do with the test."""
    made = Stuck()
    yield made
    made.let_go()
    await eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("barnabas-tool-")])


@pytest.mark.parametrize("name", ["hang", "block"], ids=["heeds-no-cancel", "holds-a-thread"])
async def test_run_given_up_at_its_time_out(stuck: Stuck, name: str) -> None:
    """The call ends at its time-out although the function goes on; its late end harms nothing.

    Fails, by its deadline, where ``run`` waits for the function's own end: nothing ends it before.
    """
    calls = Calls(grace_s=0.2)
    async with asyncio.timeout(60):
        output = await _runner(calls).run(getattr(stuck, name), "{}", CONTEXT)
    assert output.is_error
    assert "0.1 s" in output.text
    assert calls.abandoned == calls.left == (name == "hang")  # a thread is waited for by nobody
    stuck.let_go()
    await eventually(lambda: calls.left == 0)


async def test_run_tool_that_cancels_itself_is_an_error_of_its_own() -> None:
    """It must not look like the turn's cancellation."""

    @tool
    async def leave() -> None:
        raise asyncio.CancelledError

    output = await _run(leave)
    assert output.is_error
    assert "cancelled itself" in output.text


async def test_run_cancelled_turn_cancels_the_tool() -> None:
    """A cancel reaches an async tool at once."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    running = asyncio.create_task(_run(wait))
    await asyncio.wait_for(begun.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(cancelled.wait(), 60)


async def test_run_plain_functions_see_the_context_and_never_block_the_loop(stuck: Stuck) -> None:
    """Context variables reach the thread; a tool that hangs in all its threads only times out."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")

    @tool
    def look() -> str:
        return variable.get()

    assert await _run(look) == ToolOutput("seen")
    runner = _runner()
    async with asyncio.timeout(60):
        outputs = await asyncio.gather(*(runner.run(stuck.block, "{}", CONTEXT) for _ in range(MAX_THREADS + 5)))
    assert all(output.is_error for output in outputs)
    assert await runner.run(look, "{}", CONTEXT) == ToolOutput("seen")
