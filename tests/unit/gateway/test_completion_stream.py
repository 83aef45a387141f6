"""A streamed completion whose client stops reading, without a server and without Kafka."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from starlette.types import Message

from barnabas.client import Part, Sent
from barnabas.cursor import Cursor
from barnabas.gateway.completion_stream import CompletionStream, Frames
from barnabas.gateway.connection_guard import EXTENSION
from barnabas.gateway.metrics import GatewayFigures
from barnabas.gateway.open_streams import OpenStreams
from barnabas.gateway.options import GatewayOptions
from barnabas.stream_fold import ChangeKind
from schemas.attempt import Attempt
from schemas.tokens import Token, TokenKind


class EndlessParts:
    """An answer that goes on until it is closed."""

    cursor = Cursor(0, 0)

    def __init__(self) -> None:
        self.is_closed = False

    def __aiter__(self) -> EndlessParts:
        return self

    async def __anext__(self) -> Part:
        """Return one more piece."""
        if self.is_closed:
            raise StopAsyncIteration
        token = Token(
            session_id="ada", turn_id="t", message_id="m", attempt=Attempt(1), epoch=1, index=0,
            kind=TokenKind.DELTA, occurred_at=0, text="x",
        )  # fmt: skip
        return Part(ChangeKind.TEXT, "x", token, Cursor(0, 0))

    async def aclose(self) -> None:
        """End it."""
        self.is_closed = True


async def test_client_that_reads_nothing_is_disconnected() -> None:
    """What was written so far is dropped with its connection, and its place is free.

    Fails where the application only returns: the server closes, and that waits until all is read.
    """
    figures, aborted, parts = GatewayFigures(), asyncio.Event(), EndlessParts()
    gateway: Any = SimpleNamespace(
        options=GatewayOptions(send_timeout_s=0.01),
        figures=figures,
        streams=OpenStreams(figures),
        client=SimpleNamespace(stream=lambda _sent: parts),
    )
    sent = Sent("ada", "m", "t", "messages", 0, 0, Cursor(0, -1))
    frames = Frames("c", 0, "assistant", with_usage=False)
    connection = SimpleNamespace(transport=SimpleNamespace(abort=aborted.set))
    written: list[Message] = []

    async def send(message: Message) -> None:
        written.append(message)
        if len(written) > 3:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    response = CompletionStream(gateway, sent, frames, headers={}, began=0.0)
    async with asyncio.timeout(60):
        await response({"type": "http", "extensions": {EXTENSION: connection}}, receive, send)
    assert aborted.is_set()
    assert parts.is_closed
    assert gateway.streams.count == 0
