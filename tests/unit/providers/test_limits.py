"""``bounded`` keeps the limits of a model call, and closes what it reads on every way out."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from schemas.errors import (
    DeliveryUnknownError,
    PartitionClosedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    StoreError,
)
from streams.providers import ModelDelta, Timeouts, bounded

SHORT_S = 0.03
LONG = Timeouts()


class FakeStream:
    """Yields ``texts``, then does ``then``; remembers whether it was closed."""

    def __init__(self, *texts: str, then: str = "finish") -> None:
        self.texts = texts
        self.then = then
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[ModelDelta, None]:
        """Open the stream."""
        try:
            for text in self.texts:
                yield ModelDelta(text)
            if self.then == "hang":
                await asyncio.get_running_loop().create_future()
            if self.then == "fail":
                raise ProviderUnavailableError("gone", retry_after=2)
            if self.then == "finish":
                yield ModelDelta("", "stop")
        finally:
            self.is_closed = True


async def _wait_s(seconds: float) -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    await event.wait()


async def _read_slowly(stream: AsyncGenerator[ModelDelta, None]) -> list[str]:
    seen = []
    async for delta in stream:
        seen.append(delta.text)
        await _wait_s(2 * SHORT_S)
    return seen


async def test_bounded_complete_answer_passes_unchanged() -> None:
    """Deltas come through in order, the last one included."""
    fake = FakeStream("a", "b")
    assert [delta.text async for delta in bounded(fake(), LONG)] == ["a", "b", ""]
    assert fake.is_closed


@pytest.mark.parametrize(
    ("texts", "timeouts", "limit"),
    [
        ((), Timeouts(first_token_s=SHORT_S), "first_token"),
        (("",), Timeouts(first_token_s=SHORT_S, between_tokens_s=60), "first_token"),
        (("a",), Timeouts(between_tokens_s=SHORT_S), "between_tokens"),
        (("a", "b"), Timeouts(between_tokens_s=SHORT_S, first_token_s=60), "between_tokens"),
        ((), Timeouts(total_s=SHORT_S), "total"),
        (("a",), Timeouts(total_s=SHORT_S), "total"),
    ],
)
async def test_bounded_silent_stream_times_out_by_name(texts: tuple[str, ...], timeouts: Timeouts, limit: str) -> None:
    """The error names the limit that was hit; the stream is closed and the task not left cancelled."""
    fake = FakeStream(*texts, then="hang")
    with pytest.raises(ProviderTimeoutError) as caught:
        async for _ in bounded(fake(), timeouts):
            pass
    assert (caught.value.limit, caught.value.seconds) == (limit, SHORT_S)
    assert fake.is_closed
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_bounded_steady_stream_outlives_the_between_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each delta starts the between-token limit anew: on a clock that only the stream moves.

    Mutant: ``enter`` sets ``_waits_since`` the first time alone.
    """
    loop = asyncio.get_running_loop()
    now = loop.time()

    async def steady() -> AsyncGenerator[ModelDelta, None]:
        nonlocal now
        for _ in range(6):
            now += 0.05
            for _ in range(3):  # turns of the loop, in which a timer that is due comes
                await asyncio.sleep(0)
            yield ModelDelta("x")
        yield ModelDelta("", "stop")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: now)
        deltas = [delta async for delta in bounded(steady(), Timeouts(between_tokens_s=0.2, first_token_s=0.2))]
    assert len(deltas) == 7


async def test_bounded_slow_reader_is_not_the_models_fault() -> None:
    """Time the reader spends between deltas counts for the total only, and never cancels the reader."""
    stream = bounded(FakeStream("a", "b")(), Timeouts(between_tokens_s=SHORT_S))
    assert await _read_slowly(stream) == ["a", "b", ""]


async def test_bounded_slow_reader_over_the_total_times_out_at_its_next_read() -> None:
    """The total is the turn's: it ends also when the reader used it up."""
    fake = FakeStream("a", "b")
    with pytest.raises(ProviderTimeoutError, match="total"):
        await _read_slowly(bounded(fake(), Timeouts(total_s=SHORT_S)))
    assert fake.is_closed


async def test_bounded_swallowed_cancellation_still_times_out() -> None:
    """A stream that answers its cancellation with another delta is late all the same."""

    async def stubborn() -> AsyncGenerator[ModelDelta, None]:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            yield ModelDelta("late")

    with pytest.raises(ProviderTimeoutError, match="first_token"):
        async for _ in bounded(stubborn(), Timeouts(first_token_s=SHORT_S)):
            pass


@pytest.mark.parametrize("fake", [FakeStream(), FakeStream("", ""), FakeStream(then="stop")])
async def test_bounded_no_text_at_all_is_a_provider_error(fake: FakeStream) -> None:
    """An empty answer never completes a turn."""
    with pytest.raises(ProviderError, match="empty"):
        async for _ in bounded(fake(), LONG):
            pass


async def test_bounded_without_finish_reason_is_broken_off() -> None:
    """Half an answer never completes a turn either."""
    with pytest.raises(ProviderUnavailableError, match="finish reason"):
        async for _ in bounded(FakeStream("a", then="stop")(), LONG):
            pass


async def test_bounded_error_of_the_stream_passes_as_it_is() -> None:
    """The provider's own error, with its data, reaches the reader."""
    with pytest.raises(ProviderUnavailableError) as caught:
        async for _ in bounded(FakeStream("a", then="fail")(), LONG):
            pass
    assert caught.value.retry_after == 2


async def test_bounded_cancelled_reader_closes_the_stream() -> None:
    """A cancelled turn is cancelled, not timed out."""
    fake = FakeStream("a", then="hang")
    has_started = asyncio.Event()

    async def read() -> None:
        async for _ in bounded(fake(), LONG):
            has_started.set()

    task = asyncio.create_task(read())
    await has_started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fake.is_closed


async def test_bounded_cancelled_while_timing_out_is_cancelled() -> None:
    """When both happen in one step of the loop the cancellation wins: it came from outside."""

    async def cancelled_from_outside() -> AsyncGenerator[ModelDelta, None]:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            task.cancel()
        yield ModelDelta("never")

    async def read() -> None:
        async for _ in bounded(cancelled_from_outside(), Timeouts(first_token_s=SHORT_S)):
            pass

    task = asyncio.create_task(read())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_bounded_closed_early_closes_the_stream() -> None:
    """A reader that has enough ends the model call."""
    fake = FakeStream("a", then="hang")
    async with aclosing(bounded(fake(), LONG)) as stream:
        async for _ in stream:
            break
    assert fake.is_closed


@pytest.mark.parametrize("error", [DeliveryUnknownError("timed out"), PartitionClosedError("gone"), StoreError("bad")])
async def test_bounded_error_that_would_mean_the_worker_s_own_log_is_the_provider_s(error: Exception) -> None:
    """A provider that asks another deployment must not have this one's partition opened again for ever, nor end it.

    Mutant: ``OF_THE_WORKER`` empty.
    """

    async def stream() -> AsyncGenerator[ModelDelta, None]:
        yield ModelDelta("a")
        raise error

    with pytest.raises(ProviderError, match=str(error)):
        await _read_slowly(bounded(stream(), LONG))
