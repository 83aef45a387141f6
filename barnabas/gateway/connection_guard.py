"""uvicorn's protocols with a bound on what waits to be written, and an end for a client that takes nothing of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from barnabas.gateway.write_watch import WriteWatch

#: Bytes in this process that may wait for a client's socket before its writer has to wait as well.
WRITE_BUFFER_BYTES: Final = 32 * 1024

#: ... and in the kernel, which by itself gives a socket up to 4 MB: a client that reads nothing would be noticed late.
SOCKET_BUFFER_BYTES: Final = 128 * 1024

#: The ASGI extension that holds the connection's protocol object.
EXTENSION: Final = "barnabas.connection"


class _WatchedWrites(asyncio.Protocol):
    """What both protocols do about a client that takes nothing of what is written.

    Args:
        write_timeout_s: Longest a client may take nothing, in seconds; for ever unless given.
    """

    transport: asyncio.Transport

    def __init__(self, *arguments: Any, write_timeout_s: float | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._watch = WriteWatch(self, write_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no longer."""
        self._watch.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch whether the client takes anything: responses that last have a pulse, but others wait for ever."""
        super().pause_writing()
        self._watch.begin(self.transport)

    def resume_writing(self) -> None:
        """It did."""
        super().resume_writing()
        self._watch.taken()


class GuardedHttpProtocol(_WatchedWrites, HttpToolsProtocol):
    """HTTP/1.1; its requests carry :data:`EXTENSION`."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Bound the write buffer."""
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def on_response_complete(self) -> None:
        """Watch what is left to write, however little."""
        super().on_response_complete()
        self._watch.begin(self.transport)

    def on_message_begin(self) -> None:
        """Add the extension to the request's scope."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: self}

    def forget_head(self) -> None:
        """Let go of the request's headers."""
        self.headers.clear()


class GuardedWebSocketProtocol(_WatchedWrites, WebSocketsSansIOProtocol):
    """WebSockets; they carry :data:`EXTENSION`."""

    transport: asyncio.Transport

    async def run_asgi(self) -> None:
        """Add the extension to the scope; watch what is left to write at the end."""
        cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = self
        await super().run_asgi()
        self._watch.begin(self.transport)

    def forget_head(self) -> None:
        """Let go of the handshake, which is over."""
        handshake = cast("Any", self)
        handshake.request = handshake.response = None


def bound_sockets(listener: socket.socket) -> None:
    """Bound the kernel's write buffer of every connection that the listener will accept."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)


def forget_head(scope: Mapping[str, Any]) -> None:
    """Let go of a request's headers for as long as its response lasts: a browser's may be many KB of cookies."""
    scope["headers"].clear()
    connection = scope.get("extensions", {}).get(EXTENSION)
    if connection is not None:
        connection.forget_head()


def abort(scope: Mapping[str, Any]) -> None:
    """Let go of a connection and of what waits to be written to it."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    if connection is not None:
        connection.transport.abort()
