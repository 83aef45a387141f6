"""Many subscribers in one process, as cheap as they can be; told what to do by lines on stdin. See ``fanout``.

Raw sockets on an event loop, no HTTP library: a subscriber is a protocol object that looks for its marks in what comes.
``{"open": 900, "first": 100, "path": "/{}/stream"}`` opens subscribers numbered from 100; ``{"take": true}`` prints
what came since it was last said: for each text that is a number, when it was there (``time.monotonic_ns``).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import resource
import sys
import time
from typing import Any, Final, cast

import uvloop

#: Subscribers of one source address: a pair of addresses has 28,000 ports on a usual Linux.
_PER_ADDRESS: Final = 20_000

#: Connections that are being opened at once.
_AT_ONCE: Final = 100

#: What a browser sends with every request.
_BROWSER: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,cs;q=0.8,de;q=0.7\r\n"
    "Cache-Control: no-cache\r\n"
    "Pragma: no-cache\r\n"
)

_MARK: Final = re.compile(rb'"text":"(\d+)"')

#: A WebSocket's ping with the library's four bytes. No event has its first byte: they are ASCII.
_PING: Final = re.compile(rb"\x89\x04(.{4})", re.DOTALL)

#: The answer's frame up to those bytes; masked, as a client's has to be, with zeros.
_PONG: Final = b"\x8a\x84\0\0\0\0"


class Subscriber(asyncio.Protocol):
    """One stream."""

    __slots__ = ("_arrivals", "_is_open", "is_ending", "opened", "transport")

    def __init__(self, arrivals: dict[int, int]) -> None:
        self._arrivals = arrivals
        self._is_open = False
        #: Whether the driver ends it; nobody else may.
        self.is_ending = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Note when each number came."""
        now = time.monotonic_ns()
        if not self._is_open:
            if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                self.opened.set_exception(SystemExit(f"refused: {data[:200]!r}"))
                return
            self._is_open = True
            self.opened.set_result(None)
        elif self.transport is not None and (ping := _PING.search(data)) is not None:
            self.transport.write(_PONG + ping[1])  # or the gateway takes it for gone
        for number in _MARK.findall(data):
            self._arrivals[int(number)] = now

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so where the gateway ended it."""
        if not self.opened.done():
            self.opened.set_exception(SystemExit(f"lost before it was open: {exc}"))
        elif not self.is_ending:
            print(f"a subscriber was lost: {exc}", file=sys.stderr, flush=True)


class Clients:
    """All subscribers."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._arrivals: dict[int, int] = {}
        self._open: list[Subscriber] = []

    async def open(self, count: int, first: int, path: str) -> None:
        """Open so many, and wait until each is answered; a path that ends with ``/ws`` is a WebSocket's."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            async with room:
                loop = asyncio.get_running_loop()
                source = (f"127.0.0.{1 + len(self._open) // _PER_ADDRESS}", 0)
                transport, made = await loop.create_connection(
                    lambda: Subscriber(self._arrivals), self._host, self._port, local_addr=source
                )
                self._open.append(made)
                transport.write(self._request(path.format(number)))
                await made.opened

        await asyncio.gather(*(one(number) for number in range(first, first + count)))

    def take(self) -> list[tuple[int, int]]:
        """Return what came, and forget it."""
        taken = [*self._arrivals.items()]
        self._arrivals.clear()
        return taken

    async def close(self) -> None:
        """End all."""
        for one in self._open:
            one.is_ending = True
            if one.transport is not None:
                one.transport.close()
        self._open.clear()

    def _request(self, path: str) -> bytes:
        more = "Accept: text/event-stream\r\n"
        if path.endswith("/ws"):
            key = base64.b64encode(os.urandom(16)).decode()
            more = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            more += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{_BROWSER}{more}\r\n".encode()


async def main() -> None:
    """Obey until stdin ends."""
    clients = Clients(sys.argv[1], int(sys.argv[2]))
    while line := await asyncio.to_thread(sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        answer: object = None
        if "open" in order:
            await clients.open(order["open"], order["first"], order["path"])
        elif "take" in order:
            answer = clients.take()
        elif "close" in order:
            await clients.close()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main())
