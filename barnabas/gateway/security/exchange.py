"""One request and its response, as the guard sees them pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import Message, Receive, Send

from barnabas.gateway.security.authenticator import SUBPROTOCOL
from barnabas.gateway.security.response_headers import with_security

_EVENT_STREAM = b"text/event-stream"
#: Policy violation; the reason says which.
_CLOSE_CODE = 1008
_EXPIRED = "credentials expired"


class ExpiredStreamError(OSError):
    """Raised to whoever writes to a stream whose credentials ended: as though the client had gone."""


class Exchange:
    """``send`` of a request, and ``receive`` of a WebSocket.

    Adds the headers that every response has, tells of an event stream, answers a WebSocket's handshake with the
    subprotocol that was offered, and ends a stream when its credentials end: its client can go on with the cursor it
    has, and new ones.

    Args:
        receive: The server's.
        send: The server's.
    """

    __slots__ = ("_offers_subprotocol", "_receive", "_send", "expires_at", "has_expired", "on_stream")

    def __init__(self, receive: Receive, send: Send, *, offers_subprotocol: bool) -> None:
        self._receive = receive
        self._send = send
        self._offers_subprotocol = offers_subprotocol
        self.expires_at: float | None = None
        self.has_expired = False
        self.on_stream: Callable[[], None] | None = None

    async def send(self, message: Message) -> None:
        """Pass on what an HTTP response consists of.

        Raises:
            ExpiredStreamError: The credentials have ended; so has the response, in order.
        """
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if self.on_stream is not None and any(
                name == b"content-type" and value.startswith(_EVENT_STREAM) for name, value in headers
            ):
                self.on_stream()
            message = {**message, "headers": with_security(headers)}
        elif self._is_over() and message.get("more_body"):
            if not self.has_expired:
                self.has_expired = True
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            raise ExpiredStreamError(_EXPIRED)
        await self._send(message)

    async def send_to_websocket(self, message: Message) -> None:
        """Pass on what goes to a WebSocket.

        Raises:
            ExpiredStreamError: The credentials have ended; the WebSocket is closed.
        """
        kind = message["type"]
        if kind == "websocket.accept":
            if self._offers_subprotocol and message.get("subprotocol") is None:
                message = {**message, "subprotocol": SUBPROTOCOL}  # a browser closes where none of its own is taken
        elif kind == "websocket.http.response.start":
            message = {**message, "headers": with_security(list(message.get("headers", ())))}
        elif kind == "websocket.send" and self._is_over():
            await self._close()
            raise ExpiredStreamError(_EXPIRED)
        if not self.has_expired:
            await self._send(message)

    async def receive_from_websocket(self) -> Message:
        """Return what comes, or that the client has gone, once the credentials have ended."""
        if self.expires_at is None:
            return await self._receive()
        if not self.has_expired:
            try:
                async with asyncio.timeout(max(0.0, self.expires_at - time.time())):
                    return await self._receive()
            except TimeoutError:
                await self._close()
        return {"type": "websocket.disconnect", "code": _CLOSE_CODE, "reason": _EXPIRED}

    def _is_over(self) -> bool:
        return self.expires_at is not None and time.time() >= self.expires_at

    async def _close(self) -> None:
        if not self.has_expired:
            self.has_expired = True
            await self._send({"type": "websocket.close", "code": _CLOSE_CODE, "reason": _EXPIRED})
