"""The client for scripts and notebooks: the same calls, which wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from barnabas.client.callback import OnToken
from barnabas.client.client import ANSWER_TIMEOUT_S, BATCH_SIZE, Client
from barnabas.client.messages import Answer, Message, Part, Sent
from barnabas.client.stream import TokenStream
from barnabas.cursor import Cursor
from barnabas.history.diff import SessionDiff
from barnabas.history.index import Listed
from barnabas.history.indexer import OnProgress
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import At
from barnabas.history.replay import Speed
from barnabas.history.transcript import TranscriptFormat
from barnabas.settings import Settings
from schemas.errors import BarnabasError, ClientError
from schemas.session import Session

_Result = TypeVar("_Result")


class SyncStream:
    """A stream as a plain iterator and context manager."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], stream: TokenStream) -> None:
        self._run = run
        self._stream = stream

    @property
    def cursor(self) -> Cursor | None:
        """As :attr:`TokenStream.cursor`."""
        return self._stream.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Part:
        part: Part | None = self._run(_next(self._stream))
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        """As :meth:`TokenStream.aclose`."""
        self._run(self._stream.aclose())

    def __enter__(self) -> Self:
        self._run(self._stream.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncClient:
    """:class:`Client` without ``await``: its event loop runs in a thread, so that it works inside a running one, too.

    >>> def main() -> None:
    ...     with SyncClient() as client:
    ...         print(client.ask("ada", "What is an event log?"))
    ...         for part in client.stream(client.send("ada", "Say it shorter.")):
    ...             print(part.text, end="", flush=True)

    Arguments and errors are :class:`Client`'s; so are those of each method. Callbacks that are coroutine functions
    run in that thread.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        bootstrap_servers: str | None = None,
        prefix: str | None = None,
        partitions: int | None = None,
        kafka: Mapping[str, str | int | float | bool] | None = None,
        schema_registry_url: str | None = None,
        data_dir: Path | None = None,
        config: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._client = Client(
            settings,
            bootstrap_servers=bootstrap_servers,
            prefix=prefix,
            partitions=partitions,
            kafka=kafka,
            schema_registry_url=schema_registry_url,
            data_dir=data_dir,
            config=config,
            on_progress=on_progress,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Connect; raises as :meth:`Client.__aenter__`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="barnabas-client", daemon=True)
        self._thread.start()
        try:
            self._run(self._client.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As :meth:`Client.close`."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            self._run(self._client.close())
            self._run(loop.shutdown_asyncgens())
            self._run(loop.shutdown_default_executor())
        finally:
            self._loop = self._thread = None
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def send(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        agent: str | None = None,
        tenant: str | None = None,
        policy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_ms: int | None = None,
        max_tokens: int | None = None,
    ) -> Sent:
        """As :meth:`Client.send`."""
        return self._run(
            self._client.send(
                session_id,
                text,
                message_id=message_id,
                agent=agent,
                tenant=tenant,
                policy=policy,
                metadata=metadata,
                deadline_ms=deadline_ms,
                max_tokens=max_tokens,
            )
        )

    def send_many(
        self,
        messages: Iterable[Message | tuple[str, str]],
        *,
        batch_size: int = BATCH_SIZE,
        on_progress: Callable[[int], object] | None = None,
    ) -> list[Sent | BarnabasError]:
        """As :meth:`Client.send_many`."""
        return self._run(self._client.send_many(messages, batch_size=batch_size, on_progress=on_progress))

    def ask(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        agent: str | None = None,
        tenant: str | None = None,
        policy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_ms: int | None = None,
        max_tokens: int | None = None,
        timeout: float | None = ANSWER_TIMEOUT_S,
        on_token: OnToken | None = None,
    ) -> Answer:
        """As :meth:`Client.ask`."""
        return self._run(
            self._client.ask(
                session_id,
                text,
                message_id=message_id,
                agent=agent,
                tenant=tenant,
                policy=policy,
                metadata=metadata,
                deadline_ms=deadline_ms,
                max_tokens=max_tokens,
                timeout=timeout,
                on_token=on_token,
            )
        )

    def answer(
        self, sent: Sent, *, timeout: float | None = ANSWER_TIMEOUT_S, on_token: OnToken | None = None
    ) -> Answer:
        """As :meth:`Client.answer`."""
        return self._run(self._client.answer(sent, timeout=timeout, on_token=on_token))

    def stream(
        self,
        target: Sent | str,
        *,
        turn_id: str | None = None,
        after: Cursor | str | None = None,
        tenant: str | None = None,
        show_superseded: bool = False,
        buffer: int | None = None,
        is_patient: bool = True,
    ) -> SyncStream:
        """As :meth:`Client.stream`."""

        async def make() -> TokenStream:
            return self._client.stream(
                target,
                turn_id=turn_id,
                after=after,
                tenant=tenant,
                show_superseded=show_superseded,
                buffer=buffer,
                is_patient=is_patient,
            )

        return SyncStream(self._run, self._run(make()))

    def cancel(
        self,
        target: Sent | str,
        *,
        message_id: str | None = None,
        turn_id: str | None = None,
        tenant: str | None = None,
        reason: str | None = None,
    ) -> None:
        """As :meth:`Client.cancel`."""
        self._run(self._client.cancel(target, message_id=message_id, turn_id=turn_id, tenant=tenant, reason=reason))

    def erase(self, session_id: str, *, tenant: str | None = None, reason: str | None = None) -> Sent:
        """As :meth:`Client.erase`."""
        return self._run(self._client.erase(session_id, tenant=tenant, reason=reason))

    def replay(
        self,
        session_id: str | None = None,
        *,
        tenant: str | None = None,
        partition: int | None = None,
        start: At | None = None,
        end: At | None = None,
        follow: bool = False,
        speed: Speed = "max",
    ) -> Iterator[LoggedEvent]:
        """As :meth:`Client.replay`."""

        async def make() -> AsyncIterator[LoggedEvent]:
            return self._client.replay(
                session_id, tenant=tenant, partition=partition, start=start, end=end, follow=follow, speed=speed
            )

        events = _Steps(self._run(make()))
        try:
            while (event := self._run(events.next())) is not None:
                yield event
        finally:
            self._run(events.close())

    def events(
        self, session_id: str, *, tenant: str | None = None, start: At | None = None, follow: bool = False
    ) -> Iterator[LoggedEvent]:
        """As :meth:`Client.events`."""
        return self.replay(session_id, tenant=tenant, start=start, follow=follow)

    def session(self, session_id: str, *, tenant: str | None = None, at: At | None = None) -> Session:
        """As :meth:`Client.session`."""
        return self._run(self._client.session(session_id, tenant=tenant, at=at))

    def diff(self, session_id: str, before: At, after: At, *, tenant: str | None = None) -> SessionDiff:
        """As :meth:`Client.diff`."""
        return self._run(self._client.diff(session_id, before, after, tenant=tenant))

    def transcript(
        self,
        session_id: str,
        format: TranscriptFormat = "md",  # noqa: A002 -- its name
        *,
        tenant: str | None = None,
    ) -> str:
        """As :meth:`Client.transcript`."""
        return self._run(self._client.transcript(session_id, format, tenant=tenant))

    def sessions(self, limit: int = 50) -> list[tuple[int, Listed]]:
        """As :meth:`Client.sessions`."""
        return self._run(self._client.sessions(limit))

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        if self._loop is None:
            work.close()
            raise ClientError("the client is not open; use it inside: with SyncClient() as client")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, too: what was being waited for ends with it
            with suppress(RuntimeError):
                future.cancel()
            raise


async def _next(items: AsyncIterator[_Result]) -> _Result | None:
    return await anext(items, None)


class _Steps(Generic[_Result]):
    """An asynchronous generator, a step at a time.

    Ctrl-C may come when a step was just begun and nobody holds it yet: whoever closes ends it.
    """

    def __init__(self, items: AsyncIterator[_Result]) -> None:
        self._items = items
        self._step: asyncio.Task[Any] | None = None

    async def next(self) -> _Result | None:
        """Return the next item, None behind the last."""
        self._step = asyncio.current_task()
        try:
            return await _next(self._items)
        finally:
            self._step = None

    async def close(self) -> None:
        """End the step that is under way, and the generator."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
        await self._items.aclose()  # type: ignore[attr-defined]
