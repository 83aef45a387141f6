"""What comes before a request is one has its bounds: over real sockets, with uvicorn's own parser."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import ClassVar

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from barnabas.gateway.security import bounded_protocol
from barnabas.gateway.security.bounded_protocol import BoundedProtocol
from tests.support.waiting import eventually

MAX_BYTES = 2_000
#: More than the kernel takes for a client that reads nothing.
LARGE = 20_000_000
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

Serve = Callable[..., Awaitable[int]]


async def _length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _large(request: Request) -> Response:
    return PlainTextResponse("x" * LARGE, headers={"Connection": request.query_params["connection"]})


async def _unread(_request: Request) -> Response:
    return PlainTextResponse("unread", 413)


class _Noted(BoundedProtocol):
    """Tells the test which connections there were."""

    made: ClassVar[list[BoundedProtocol]] = []

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)
        self.made.append(self)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that serves and returns the port."""
    _Noted.made.clear()
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *, head_timeout_s: float = 30.0, keep_alive_s: int = 30, write_timeout_s: float | None = None
        ) -> int:
            app = Starlette(
                routes=[
                    Route("/", _length, methods=["GET", "POST"]),
                    Route("/large", _large),
                    Route("/unread", _unread, methods=["POST"]),
                ]
            )
            config = uvicorn.Config(
                app,
                loop="none",
                http=partial(  # type: ignore[arg-type]
                    _Noted,
                    max_head_bytes=MAX_BYTES,
                    head_timeout_s=head_timeout_s,
                    write_timeout_s=write_timeout_s,
                ),
                lifespan="off",
                log_config=None,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=1,
            )
            config.load()
            state = uvicorn.Server(config).server_state
            loop = asyncio.get_running_loop()
            server = await loop.create_server(
                lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
                "127.0.0.1",
                0,
            )

            async def stop() -> None:
                server.close()
                for connection in list(state.connections):
                    connection.transport.abort()  # type: ignore[union-attr]
                await asyncio.gather(*state.tasks, return_exceptions=True)

            stack.push_async_callback(stop)
            port: int = server.sockets[0].getsockname()[1]
            return port

        yield start


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split()[1]), await self.reader.readexactly(int(length.split()[1]))

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[_Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield _Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: %b\r\n\r\n" % (b"x" * MAX_BYTES),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (b"X-Many: x\r\n" * 300),
        b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * MAX_BYTES),
    ],
    ids=["one header", "many headers", "target"],
)
@pytest.mark.parametrize("piece", [100_000, 97])
async def test_too_large_a_head_is_refused(serve: Serve, head: bytes, piece: int) -> None:
    """At once or in pieces; fails with uvicorn's own protocol, which takes it all."""
    async with _connected(await serve()) as connection:
        for start in range(0, len(head), piece):
            await connection.say(head[start : start + piece])
        assert (await connection.answer())[0] == 431
        assert await connection.is_closed()


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: ",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless-",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: ",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
    ids=["target", "value", "name", "trailer", "chunk extension"],
)
async def test_head_without_an_end_is_cut_off(serve: Serve, endless: bytes) -> None:
    """A parser keeps what is not whole yet: it would take memory without end."""
    async with _connected(await serve()) as connection:
        await connection.say(endless)
        for _ in range(100):
            if connection.writer.is_closing():
                break
            await connection.say(b"x" * 500)
        with contextlib.suppress(ConnectionError):
            assert b"431" in await asyncio.wait_for(connection.reader.read(), 10)


async def test_trailers_are_counted_as_well(serve: Serve) -> None:
    """Many whole ones."""
    async with _connected(await serve()) as connection:
        await connection.say(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        await connection.say(b"X-Trailer: x\r\n" * 300)
        assert (await connection.answer())[0] == 431


async def test_requests_on_one_connection_are_counted_apart(serve: Serve) -> None:
    """Each has the whole bound, and bodies are not counted."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Long: %b\r\nContent-Length: 50000\r\n\r\n" % (b"x" * 1_800)
    async with _connected(await serve()) as connection:
        for _ in range(5):
            await connection.say(head + b"x" * 50_000)
            assert await connection.answer() == (200, b"50000")
        await connection.say(GET + GET)
        assert [await connection.answer() for _ in range(2)] == [(200, b"0")] * 2


async def _shortened() -> None:
    """Let the next head of the connection that was just made have a tenth of a second."""
    await eventually(lambda: _Noted.made)
    _Noted.made[-1]._head_timeout_s = 0.1


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: lo"], ids=["nothing", "some"])
async def test_head_that_does_not_come_is_given_up(serve: Serve, said: bytes) -> None:
    """The connection is closed; fails without the timer: a client that drips would hold it for ever."""
    async with _connected(await serve(head_timeout_s=0.1)) as connection:
        await connection.say(said)
        assert await connection.is_closed()


async def test_next_head_that_does_not_come_is_given_up(serve: Serve) -> None:
    """As the first one; fails without the timer of ``on_message_begin``."""
    async with _connected(await serve()) as connection:
        await connection.say(GET)
        assert await connection.answer() == (200, b"0")
        await _shortened()
        await connection.say(b"GET / HT")
        assert await connection.is_closed()


async def test_connection_between_requests_is_kept(serve: Serve) -> None:
    """The head's time begins with its first byte, and ends with its last."""
    async with _connected(await serve()) as connection:
        await _shortened()
        await connection.say(GET)
        assert await connection.answer() == (200, b"0")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.reader.read(1), 0.4)
        await connection.say(GET)
        assert await connection.answer() == (200, b"0")


async def test_body_that_was_refused_may_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is cut off while it sends sees no answer; one that never ends is."""
    monkeypatch.setattr(bounded_protocol, "_LINGER_S", 60.0)
    head = b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    port = await serve()
    async with _connected(port) as connection:
        await connection.say(head % 100_000)
        assert await connection.answer() == (413, b"unread")
        assert _Noted.made[-1]._timer is not None
        await connection.say(b"x" * 100_000)
        await eventually(lambda: _Noted.made[-1]._timer is None)  # it has ended: nothing closes the connection any more
        await connection.say(GET)
        assert await connection.answer() == (200, b"0")
    monkeypatch.setattr(bounded_protocol, "_LINGER_S", 0.1)
    async with _connected(port) as connection:
        await connection.say(head % 100_000)
        assert await connection.answer() == (413, b"unread")
        assert await connection.is_closed()


async def test_malformed_request_is_still_one(serve: Serve) -> None:
    """400 as before."""
    async with _connected(await serve()) as connection:
        await connection.say(b"NONSENSE\r\n\r\n")
        assert (await connection.answer())[0] == 400


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_response_that_nobody_reads_ends_its_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    """And what waited for it is let go.

    Fails without the watch: closing waits until all is written, and by a proxy's or a client's fault that is never.
    """
    lost, connection_lost = asyncio.Event(), BoundedProtocol.connection_lost

    def noting(self: BoundedProtocol, error: Exception | None) -> None:
        connection_lost(self, error)
        lost.set()

    monkeypatch.setattr(BoundedProtocol, "connection_lost", noting)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", await serve(write_timeout_s=0.2)))
        client.sendall(b"GET /large?connection=%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % connection.encode())
        await asyncio.wait_for(lost.wait(), 60)
        assert client.recv(12) == b"HTTP/1.1 200"
