"""``Calls``: what a turn may leave behind, and what it may not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from streams.calls import Calls

GRACE_S = 0.05


async def _swallow_every_cancellation(gate: asyncio.Event) -> None:
    while not gate.is_set():
        with suppress(asyncio.CancelledError):
            await gate.wait()


async def _block_in_finally(gate: asyncio.Event) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.shield(asyncio.ensure_future(gate.wait()))
        await gate.wait()


async def _wait_for_a_stubborn_task(gate: asyncio.Event) -> None:
    await asyncio.create_task(_swallow_every_cancellation(gate))


async def _begun() -> None:
    """Let the loop turn until every task that was made, and what those make, waits: turns, not time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _cancelled(running: Awaitable[Any]) -> None:
    task = asyncio.ensure_future(running)
    await _begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)


async def test_run_result_and_error_pass_through() -> None:
    """As if it were awaited."""

    async def answer() -> int:
        return 7

    async def fail() -> int:
        raise ZeroDivisionError("a bug")

    calls = Calls(GRACE_S)
    assert await calls.run(answer(), "it", on_abandon=pytest.fail) == 7
    with pytest.raises(ZeroDivisionError):
        await calls.run(fail(), "it", on_abandon=pytest.fail)


async def test_run_cancelled_waits_for_the_calls_own_end() -> None:
    """A call that cleans up in time is not left behind."""
    is_clean = False

    async def clean_up() -> None:
        nonlocal is_clean
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            is_clean = True

    calls = Calls(5.0)
    await _cancelled(calls.run(clean_up(), "it", on_abandon=pytest.fail))
    assert is_clean
    assert calls.abandoned == calls.left == 0


async def test_run_cancelled_error_instead_of_an_end_the_cancellation_counts() -> None:
    """What a call makes of its cancellation is not its reader's outcome."""

    async def complain() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ZeroDivisionError("a bug") from None

    await _cancelled(Calls(5.0).run(complain(), "it", on_abandon=pytest.fail))


@pytest.mark.parametrize("call", [_swallow_every_cancellation, _block_in_finally, _wait_for_a_stubborn_task])
async def test_run_cancelled_call_that_does_not_end_is_left_behind(
    call: Callable[[asyncio.Event], Coroutine[Any, Any, None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Told, logged, counted; and no longer among the tasks that the loop's end waits for."""
    calls, gate, told = Calls(GRACE_S), asyncio.Event(), []
    before = asyncio.all_tasks()
    with caplog.at_level(logging.ERROR):
        await _cancelled(calls.run(call(gate), "the model", on_abandon=lambda: told.append(calls.left)))
    assert told == [0]
    assert (calls.abandoned, calls.left) == (1, 1)
    assert "the model does not end" in caplog.text
    (left,) = calls._left
    assert left not in asyncio.all_tasks() - before
    gate.set()
    await asyncio.wait({left}, timeout=60)
    await asyncio.sleep(0)
    assert (calls.abandoned, calls.left) == (1, 0)


async def test_run_cancelled_twice_the_second_ends_the_grace() -> None:
    """The partition is lost while a deadline is being obeyed."""
    calls, gate = Calls(60.0), asyncio.Event()
    task = asyncio.create_task(calls.run(_swallow_every_cancellation(gate), "it", on_abandon=lambda: None))
    for _ in range(2):
        await _begun()
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    assert calls.left == 1
    gate.set()
    await asyncio.wait(calls._left, timeout=60)
