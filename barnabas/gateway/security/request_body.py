"""Bounds a request's body while it comes in, in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import Message, Receive

from barnabas.gateway.problems import Refusal

_MAX_DIGITS: Final = 15


def announced_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return what a request says of its body's size: 0 where there is none, None where it comes in chunks."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else 10**_MAX_DIGITS
    return 0


def too_large(max_bytes: int) -> Refusal:
    """Return what is said of a body with more bytes than this."""
    return Refusal(413, "body_too_large", f"a body has at most {max_bytes} bytes")


class RequestBody:
    """``receive`` of a request that has a body.

    Args:
        receive: The server's.
        max_bytes: Largest body.
        timeout_s: How long it may take to come, in seconds.
    """

    __slots__ = ("_deadline", "_is_complete", "_max_bytes", "_receive", "_taken", "_timeout_s")

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._taken = 0
        self._is_complete = False

    async def __call__(self) -> Message:
        """Return the next part.

        Raises:
            Refusal: 413 there is more than may come, which of chunks is known only now; 408 it takes too long.
        """
        if self._is_complete:  # what is waited for now is the caller's going
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message: dict[str, Any] = dict(await self._receive())
        except TimeoutError as error:
            text = f"the body did not come within {self._timeout_s:g} s"
            raise Refusal(408, "body_timeout", text, headers={"Connection": "close"}) from error
        self._taken += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._taken > self._max_bytes:
            raise too_large(self._max_bytes)
        return message
