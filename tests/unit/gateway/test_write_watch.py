"""A peer that takes nothing is let go, one that takes a little is not; over a transport that is told what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from barnabas.gateway.write_watch import WriteWatch
from tests.support.waiting import eventually

#: Of no weight here: what the transport says comes in order, however late.
TIMEOUT_S = 0.01


class ToldTransport(asyncio.Transport):
    """Says one number of bytes after the other, the last one for ever."""

    def __init__(self, waiting: Iterable[int]) -> None:
        super().__init__()
        self._waiting: Iterator[int] = iter(waiting)
        self._last = 0
        self.protocol = asyncio.Protocol()
        self.is_aborted = False
        self.is_over = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        """Say the next number."""
        self._last = next(self._waiting, self._last)
        if not self._last:
            self.is_over.set()
        return self._last

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whose it is."""
        return self.protocol

    def abort(self) -> None:
        """As an event loop's."""
        self.is_aborted = True
        self.is_over.set()


async def ended(transport: ToldTransport, protocol: asyncio.Protocol | None = None) -> bool:
    """Watch until there is nothing to watch; return whether the peer was let go."""
    watch = WriteWatch(protocol or transport.protocol, TIMEOUT_S)
    watch.begin(transport)
    watch.begin(transport)
    async with asyncio.timeout(60):
        await transport.is_over.wait()
    watch.stop()
    return transport.is_aborted


@pytest.mark.parametrize(
    ("waiting", "is_let_go"),
    [
        ([1000], True),
        ([1000, 900, 1000], True),  # more may come while nothing goes
        ([*range(1000, -1, -10)], False),
        ([number for left in range(20, -1, -1) for number in [left] * 7], False),  # slow
        ([0], False),
    ],
)
async def test_peer_that_takes_nothing_is_let_go(waiting: list[int], *, is_let_go: bool) -> None:
    """However slow, one that takes something goes on."""
    assert await ended(ToldTransport(waiting)) is is_let_go


async def test_what_is_taken_between_two_looks_counts() -> None:
    """The transport says so: what waits now may be new."""
    transport = ToldTransport([1000] * 40 + [0])
    watch = WriteWatch(transport.protocol, TIMEOUT_S)
    watch.begin(transport)
    size = transport.get_write_buffer_size

    def looked() -> int:
        watch.taken()
        return size()

    transport.get_write_buffer_size = looked  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        await transport.is_over.wait()
    assert not transport.is_aborted


async def test_connection_that_another_protocol_has_taken_is_left_alone() -> None:
    """A WebSocket's sees to itself."""
    transport = ToldTransport([1000])
    watch = WriteWatch(asyncio.Protocol(), TIMEOUT_S)
    watch.begin(transport)
    await eventually(lambda: watch._timer is None, 60)
    assert not transport.is_aborted
