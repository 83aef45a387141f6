"""The server's HTTP protocol, with bounds on what comes before a request is one."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from barnabas.gateway.connection_guard import GuardedHttpProtocol

#: How long what nobody reads may still come: a client that is cut off while it sends sees no answer.
_LINGER_S: Final = 2.0


class _HeadTooLargeError(Exception):
    """Stops the parser."""


class BoundedProtocol(GuardedHttpProtocol):
    """uvicorn's, which bounds neither size nor duration of request line and headers.

    Args:
        max_head_bytes: Largest request line, headers and trailers together.
        head_timeout_s: How long request line and headers may take to come, in seconds; the first one from the
            connection on.
    """

    def __init__(self, *arguments: Any, max_head_bytes: int, head_timeout_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._max_head_bytes = max_head_bytes
        self._head_timeout_s = head_timeout_s
        self._head_bytes = 0
        self._unparsed_bytes = 0  # since the parser last found something whole
        self._is_head_too_large = self._is_refused = False
        self._reading: RequestResponseCycle | None = None  # the request whose body is coming
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait(self._head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what does not become a header however much of it comes."""
        if self._is_refused:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > self._max_head_bytes and not self.transport.is_closing():
            self._is_head_too_large = True
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Say that the head is too large, where it is."""
        if not self._is_head_too_large:
            super().send_400_response(msg)
            return
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        text = b"request line and headers are too large"
        head = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
        self.transport.write(head + b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(text), text))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(_LINGER_S)

    def on_message_begin(self) -> None:
        """Begin to count and to wait."""
        self._head_bytes = self._unparsed_bytes = 0
        self._wait(self._head_timeout_s)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._unparsed_bytes = 0
        self._wait(None)
        super().on_headers_complete()
        self._reading = self.cycle

    def on_body(self, body: bytes) -> None:
        """A body has its own bound, where it is read."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing more comes of this request."""
        self._unparsed_bytes = 0
        self._reading = None
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Take the rest of a body that was answered before its end, for a while."""
        super().on_response_complete()
        if self._reading is not None and self._reading.response_complete and not self.transport.is_closing():
            self._wait(_LINGER_S)

    def _count(self, length: int) -> None:
        self._unparsed_bytes = 0
        self._head_bytes += length
        if self._head_bytes > self._max_head_bytes:
            self._is_head_too_large = True
            raise _HeadTooLargeError

    def _wait(self, seconds: float | None) -> None:
        """Close the connection after this long; None: not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()
