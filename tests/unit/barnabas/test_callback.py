"""A user's callback: in order, bounded, and whatever it does, the reading goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from contextvars import ContextVar

import pytest

from barnabas.client.callback import CallbackQueue, OnToken
from barnabas.client.messages import Part
from barnabas.cursor import Cursor
from tests.unit.barnabas.test_token_stream import ANSWER, stream_of


async def hand_over(on_token: OnToken, times: int = 1) -> None:
    """Give a callback an answer's parts."""
    queue = CallbackQueue(on_token)
    try:
        for _ in range(times):
            async for part in stream_of(ANSWER, Cursor(0, -1)):
                await queue.put(part)
        await queue.join()
    finally:
        await queue.aclose()


async def test_slow_sync_callback_leaves_the_loop_free() -> None:
    """It blocks a thread of its own; the loop turns meanwhile, and every part arrives in order."""
    may, heard = threading.Event(), list[str]()

    def hear(part: Part) -> None:
        assert may.wait(60)
        heard.append(part.text)

    handing = asyncio.create_task(hand_over(hear))
    await asyncio.sleep(0.05)
    assert not handing.done()
    may.set()
    async with asyncio.timeout(60):
        await handing
    assert "".join(heard) == "abcde"
    assert not [one for one in threading.enumerate() if one.name.startswith("barnabas-on-token")]


async def test_sync_callback_sees_the_askers_context() -> None:
    """A trace's span, a log's fields."""
    user: ContextVar[str] = ContextVar("user")
    user.set("ada")
    seen: set[str] = set()
    await hand_over(lambda _part: seen.add(user.get()))
    assert seen == {"ada"}


async def test_async_callbacks_of_every_form_run_on_the_loop() -> None:
    """A coroutine function, an object that is called like one, a function that returns a coroutine."""
    here, seen = threading.get_ident(), list[bool]()

    async def hear(_part: Part) -> None:
        await asyncio.sleep(0)
        seen.append(threading.get_ident() == here)

    class Screen:
        async def __call__(self, part: Part) -> None:
            await hear(part)

    def begin(part: Part) -> Awaitable[None]:
        return hear(part)

    for form in (hear, Screen(), begin):
        await hand_over(form)
    assert seen == [True] * 3 * len(ANSWER)


async def test_callback_that_raises_anything_gets_the_next_part(caplog: pytest.LogCaptureFixture) -> None:
    """Also a cancellation, of something that it had waited for: more parts follow than the queue holds."""
    heard = 0

    async def hear(_part: Part) -> None:
        nonlocal heard
        heard += 1
        raise asyncio.CancelledError if heard % 2 else RuntimeError("the screen is broken")

    async with asyncio.timeout(60):
        await hand_over(hear, times=50)
    assert heard == 50 * (len(ANSWER))
    assert caplog.text.count("on_token failed") == heard


@pytest.mark.parametrize("is_sync", [False, True])
async def test_aclose_waits_for_the_call_that_is_under_way(*, is_sync: bool) -> None:
    """No call is made, or runs on, behind it."""
    begun, calls = asyncio.Event(), list[str]()
    loop = asyncio.get_running_loop()

    async def hear(_part: Part) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            calls.append("over")

    def hear_sync(_part: Part) -> None:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.05)
        calls.append("over")

    queue = CallbackQueue(hear_sync if is_sync else hear)
    async for part in stream_of(ANSWER, Cursor(0, -1)):
        await queue.put(part)
    async with asyncio.timeout(60):
        await begun.wait()
        await queue.aclose()
    assert calls == ["over"]
    await asyncio.sleep(0.1)
    assert calls == ["over"]
