"""Running tools: results and errors as text, time-outs that hold whatever the function does."""

import asyncio
import contextvars
import time
from typing import Any

import pytest

from streams.calls import Calls
from streams.tool_runner import MAX_THREADS, ToolOutput, ToolRunner
from streams.tools import Tool, ToolContext, tool
from tests.support.effects import block, broken, hang
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


@pytest.mark.parametrize("stuck", [hang, block], ids=["heeds-no-cancel", "holds-a-thread"])
async def test_run_given_up_at_its_time_out(stuck: Tool) -> None:
    """The call ends at its time-out although the function goes on; its late end harms nothing."""
    calls = Calls(grace_s=0.2)
    began = time.monotonic()
    output = await _runner(calls).run(stuck, "{}", CONTEXT)
    assert output.is_error
    assert "0.3 s" in output.text
    assert time.monotonic() - began < 0.9  # both go on for a second
    assert calls.abandoned == (stuck is hang)  # a thread is waited for by nobody
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
    cancelled = asyncio.Event()

    @tool
    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    running = asyncio.create_task(_run(wait))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_run_plain_functions_see_the_context_and_never_block_the_loop() -> None:
    """Context variables reach the thread; a tool that hangs in all its threads only times out."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")

    @tool
    def look() -> str:
        return variable.get()

    assert await _run(look) == ToolOutput("seen")
    runner = _runner()
    outputs = await asyncio.gather(*(runner.run(block, "{}", CONTEXT) for _ in range(MAX_THREADS + 5)))
    assert all(output.is_error for output in outputs)
    assert await runner.run(look, "{}", CONTEXT) == ToolOutput("seen")
