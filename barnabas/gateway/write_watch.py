"""A deadline for what waits to be written to a connection: a peer that takes none of it is let go."""

from __future__ import annotations

import asyncio
from typing import Any, Final

#: How often it looks before the deadline is over. What waits may have been taken and written anew between two looks.
_LOOKS: Final = 8


class WriteWatch:
    """Watches one connection while something waits to be written, whatever became of its request.

    A transport that is closed first writes what it has, to a peer that does not read for ever; so closing is no end.
    While nothing waits it has no timer.

    Args:
        protocol: The connection's; another one that has taken it over sees to itself.
        timeout_s: Longest the peer may take nothing, in seconds; None: for ever.
    """

    __slots__ = ("_idle_looks", "_left", "_protocol", "_timeout_s", "_timer", "_transport")

    def __init__(self, protocol: asyncio.Protocol, timeout_s: float | None) -> None:
        self._protocol = protocol
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None
        #: Bytes that waited at the last look, and the looks since some were taken.
        self._left = self._idle_looks = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Watch until nothing waits any more; repeatable."""
        if self._timer is None and self._timeout_s is not None:
            self._transport, self._left, self._idle_looks = transport, _waiting(transport), 0
            self._look_later(self._timeout_s)

    def taken(self) -> None:
        """Hear that the peer took something."""
        self._idle_looks = 0

    def stop(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, timeout_s: float) -> None:
        if self._left:
            self._timer = asyncio.get_running_loop().call_later(timeout_s / _LOOKS, self._look, timeout_s)

    def _look(self, timeout_s: float) -> None:
        self._timer = None
        transport = self._transport
        if transport is None or transport.get_protocol() is not self._protocol:
            return
        before, self._left = self._left, _waiting(transport)
        self._idle_looks = 0 if self._left < before else self._idle_looks + 1
        if self._idle_looks >= _LOOKS:
            transport.abort()
        else:
            self._look_later(timeout_s)


def _waiting(transport: asyncio.Transport) -> int:
    """Return the bytes in this process; of TLS nearly all of them lie with the transport below it."""
    below: Any = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.get_write_buffer_size() + (0 if below is None else below.get_write_buffer_size())
