"""A session's tokens as an async iterator: one attempt's text, with a cursor to go on from."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from barnabas.client.messages import Part
from barnabas.cursor import Cursor
from barnabas.fanout import Subscription, TokenRecord
from barnabas.stream_fold import Change, ChangeKind, StreamFold
from schemas.errors import SlowSubscriberError

#: Makes a subscription behind a cursor; None is "from now on".
Subscribe = Callable[[Cursor | None], Awaitable[Subscription]]


class TokenStream:
    """What :meth:`Client.stream` returns; an async iterator and an async context manager.

    Closed when its turn ends, when the ``async with`` block ends, when nobody holds it any more, or with the client.
    """

    def __init__(
        self,
        subscribe: Subscribe,
        after: Cursor | None,
        *,
        turn_id: str | None = None,
        shows_superseded: bool = False,
        is_patient: bool = True,
    ) -> None:
        """``is_patient``: subscribe again by itself after having been cut off for slowness."""
        self._subscribe = subscribe
        self._after = after
        self._turn_id = turn_id
        self._shows_superseded = shows_superseded
        self._is_patient = is_patient
        self._fold = (
            StreamFold()
            if after is None
            else StreamFold(epoch=after.epoch, is_resumed=after.is_resumed, is_partial=after.is_partial)
        )
        self._is_partial = after is not None and after.is_partial
        self._subscription: Subscription | None = None
        self._on_loss: weakref.finalize[..., TokenStream] | None = None
        self._parts: deque[Part] = deque()
        self._is_over = self._has_begun = False

    @property
    def cursor(self) -> Cursor | None:
        """Behind what was taken; None before the first part of a stream that began "from now on"."""
        if self._parts or self._subscription is None:
            return self._after
        return self._subscription.cursor._replace(is_partial=self._is_partial)

    @property
    def has_begun(self) -> bool:
        """Whether a part was given."""
        return self._has_begun

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        """Return the next part; raises as :meth:`Client.stream` says."""
        while not self._parts:
            if self._is_over:
                raise StopAsyncIteration
            record = await self._next()
            if self._turn_id is None or record.token.turn_id == self._turn_id:
                self._unfold(record)
        part = self._parts.popleft()
        self._after, self._has_begun = part.cursor, True
        if part.outcome is not None and self._turn_id is not None:
            await self.aclose()
        return part

    async def start(self) -> Self:
        """Subscribe now instead of at the first part: nothing that is written from here on is missed."""
        if self._subscription is None and not self._is_over:
            self._hold(await self._subscribe(self._after))
        return self

    async def aclose(self) -> None:
        """End the stream; repeatable. The turn goes on."""
        self._is_over = True
        if self._subscription is not None:
            self._after = self.cursor
            self._leave()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> TokenRecord:
        while True:
            await self.start()
            if self._subscription is None:  # closed meanwhile
                raise StopAsyncIteration
            try:
                return await anext(self._subscription)
            except SlowSubscriberError as error:
                self._after = Cursor.parse(error.cursor)._replace(is_partial=self._is_partial)
                self._leave()
                if not self._is_patient:
                    self._is_over = True
                    text = str(error).replace(error.cursor, str(self._after))
                    raise SlowSubscriberError(text, cursor=str(self._after)) from error

    def _hold(self, made: Subscription) -> None:
        if self._is_over:  # closed meanwhile
            made.close()
            return
        self._subscription = made
        # Who leaves a loop by ``break`` does not close it.
        self._on_loss = weakref.finalize(self, _close, asyncio.get_running_loop(), made)
        self._on_loss.atexit = False
        if self._after is None:
            self._after = made.cursor

    def _leave(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._on_loss is not None:
            self._on_loss.detach()
            self._on_loss = None

    def _unfold(self, record: TokenRecord) -> None:
        """Make the parts of a record. Only the last carries the cursor behind it: the others may be needed again."""
        token, last = record.token, self._after or Cursor(record.partition, record.offset - 1)
        changes = self._fold.apply(token)
        self._is_partial = self._fold.has_gap
        # Who stops between two parts has shown what is neither the old text nor the new one.
        before = last._replace(is_partial=True)
        behind = Cursor(record.partition, record.offset, max(last.epoch, token.epoch), self._is_partial)
        if not changes and self._shows_superseded:
            changes = (Change(ChangeKind.SUPERSEDED, token, token.text or ""),)
        for number, change in enumerate(changes, 1):
            cursor = behind if number == len(changes) else before
            self._parts.append(Part(change.kind, change.text, token, cursor, change.is_repaired))


def _close(loop: asyncio.AbstractEventLoop, subscription: Subscription) -> None:
    """Close it from whatever thread collects the garbage."""
    with suppress(RuntimeError):  # the loop ended before
        loop.call_soon_threadsafe(subscription.close)
