"""The time limits of a model call, over any provider's stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from schemas.errors import (
    OF_THE_WORKER,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from streams.providers.protocol import ModelDelta, Timeouts


class _Watchdog:
    """One timer for a whole stream: it cancels the reading task once the deadline has passed.

    A delta only notes when its wait began; the timer, when it fires too early, arms itself again. That costs
    half a microsecond a delta, where an ``asyncio.timeout`` around each costs several and leaves a
    cancelled timer in the loop's heap. It acts only while the reader waits for the stream: the deadline
    must cut the wait for the model, never whatever else the reader's task is doing (PEP 789).
    """

    __slots__ = (
        "_cancelling",
        "_expired",
        "_first_at",
        "_loop",
        "_reader",
        "_task",
        "_timeouts",
        "_timer",
        "_total_at",
        "_waits_since",
        "has_text",
    )

    def __init__(self, timeouts: Timeouts) -> None:
        reader = asyncio.current_task()
        if reader is None:
            raise RuntimeError("a model stream must be read by a task")
        #: The one task that reads the stream; asking for it anew would be a tenth of a delta's cost.
        self._reader: asyncio.Task[object] = reader
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        now = self._waits_since = self._loop.time()
        self._first_at = now + timeouts.first_token_s
        self._total_at = now + timeouts.total_s
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelling = 0
        self._expired = False
        self.has_text = False

    def enter(self) -> None:
        """Begin to wait for the next delta; raises when the total has passed already."""
        now = self._waits_since = self._loop.time()
        if now >= self._total_at:
            raise self._error()
        self._task = self._reader
        if self._timer is None:
            # Early enough for every limit: one that fires too early only arms itself again.
            soonest = min(self._deadline, self._waits_since + self._timeouts.between_tokens_s)
            self._timer = self._loop.call_at(soonest, self._fire)

    def leave(self) -> None:
        """End the wait; raises when the deadline ended it and nobody else cancelled the task."""
        task, self._task = self._task, None
        if self._expired and task is not None:
            self._expired = False
            if task.uncancel() <= self._cancelling:
                raise self._error()

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _deadline(self) -> float:
        limit = self._waits_since + self._timeouts.between_tokens_s if self.has_text else self._first_at
        return min(limit, self._total_at)

    def _fire(self) -> None:
        self._timer = None
        task = self._task
        if task is None:
            return  # the reader is busy elsewhere: its next wait arms the timer again
        deadline = self._deadline
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._fire)
            return
        self._expired = True
        self._cancelling = task.cancelling()
        task.cancel()

    def _error(self) -> ProviderTimeoutError:
        if self._deadline >= self._total_at:
            return ProviderTimeoutError("total", self._timeouts.total_s)
        if self.has_text:
            return ProviderTimeoutError("between_tokens", self._timeouts.between_tokens_s)
        return ProviderTimeoutError("first_token", self._timeouts.first_token_s)


async def bounded(stream: AsyncGenerator[ModelDelta, None], timeouts: Timeouts) -> AsyncGenerator[ModelDelta, None]:
    """Yield ``stream``'s deltas within the first-token, between-token and total limits of ``timeouts``.

    ``first_token_s`` and ``total_s`` run from the first wait on, and ``first_token_s`` ends with the
    first delta that has text; ``between_tokens_s`` runs while this generator waits, not while its reader
    works. One task reads it to its end. The stream is closed on every way out; a reader that may stop early,
    or be cancelled between deltas, wraps this generator in ``contextlib.aclosing``.

    Raises ``ProviderTimeoutError`` with the limit's name; ``ProviderError`` when the answer had no
    text; ``ProviderUnavailableError`` when it ended without a finish reason; whatever ``stream`` raises, as
    ``ProviderError`` what would be taken for the worker's own trouble.
    """
    watchdog = _Watchdog(timeouts)
    is_finished = False
    read = stream.__anext__
    try:
        while True:
            watchdog.enter()
            try:
                delta = await read()
            except StopAsyncIteration:
                break
            except OF_THE_WORKER as exc:
                # Of another deployment that a provider asks: its failure. Taken for this worker's own, its message
                # would close its partition, or end its worker, again and again.
                raise ProviderError(f"the provider met {exc.code}: {exc}") from exc
            finally:
                watchdog.leave()
            if delta.text or delta.tool_calls:
                watchdog.has_text = True
            if delta.finish_reason is not None:
                is_finished = True
            yield delta
    finally:
        watchdog.stop()
        await stream.aclose()
    if not watchdog.has_text:
        raise ProviderError("the model's answer was empty")
    if not is_finished:
        raise ProviderUnavailableError("the model's answer broke off: it ended without a finish reason")
