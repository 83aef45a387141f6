"""uvicorn's protocols with a bound on what waits to be written, and a way to let go of a client that takes nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

#: Bytes in this process that may wait for a client's socket before its writer has to wait as well.
WRITE_BUFFER_BYTES: Final = 32 * 1024

#: ... and in the kernel, which by itself gives a socket up to 4 MB: a client that reads nothing would be noticed late.
SOCKET_BUFFER_BYTES: Final = 128 * 1024

#: The ASGI extension that holds the connection's protocol object.
EXTENSION: Final = "barnabas.connection"


class GuardedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1; its requests carry :data:`EXTENSION`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Bound the write buffer."""
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Add the extension to the request's scope."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: self}

    def forget_head(self) -> None:
        """Let go of the request's headers."""
        self.headers.clear()


class GuardedWebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets; they carry :data:`EXTENSION`."""

    async def run_asgi(self) -> None:
        """Add the extension to the scope."""
        cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = self
        await super().run_asgi()

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
