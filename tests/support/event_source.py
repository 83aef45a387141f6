"""A browser's EventSource by the letter of its standard, as far as a test needs it: what it takes, it keeps."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.patience import CONDITION_S

#: A CR at the very end may be followed by its LF.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class Taken(NamedTuple):
    """One event that was dispatched.

    Attributes:
        id: The last event id by then.
        event: Its type.
        data: Its data.
    """

    id: str
    event: str
    data: str

    @property
    def json(self) -> dict[str, Any]:
        """Its data, decoded."""
        decoded: dict[str, Any] = json.loads(self.data)
        return decoded


class EventSource:
    """What came over one or more connections.

    Attributes:
        events: Those dispatched so far.
        comments: Lines that began with a colon.
        last_event_id: As the browser would send it.
        retry_ms: The server's wish, in milliseconds.
    """

    def __init__(self) -> None:
        self.events: list[Taken] = []
        self.comments: list[str] = []
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._chunks: dict[httpx.Response, AsyncIterator[bytes]] = {}
        self._begin()

    def _begin(self) -> None:
        self._rest = b""
        self._id, self._event, self._data = self.last_event_id, "", list[str]()

    def feed(self, chunk: bytes) -> None:
        """Take bytes as they come, cut anywhere; a line ends with LF, CR or both."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        if line.startswith(":"):
            self.comments.append(line)
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdigit():
            self.retry_ms = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        data, event, self._data, self._event = self._data, self._event, [], ""
        if data:
            self.events.append(Taken(self.last_event_id, event or "message", "\n".join(data)))

    @asynccontextmanager
    async def connect(self, url: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """Connect, or come back with the last id; what is half there is forgotten, as a browser does.

        The response is read as :meth:`take` asks for it.
        """
        self._begin()
        headers = {
            "Accept": "text/event-stream",
            **({"Last-Event-ID": self.last_event_id} if self.last_event_id else {}),
        }
        headers |= options.pop("headers", {})
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(60.0)) as client,
            client.stream("GET", url, headers=headers, **options) as response,
        ):
            self._chunks[response] = response.aiter_raw()  # can be asked for once
            yield response
            del self._chunks[response]

    async def take(
        self,
        response: httpx.Response,
        until: Callable[[EventSource], object] | None = None,
        timeout_s: float = CONDITION_S,
    ) -> bool:
        """Read until ``until(self)``, or the end of the response; returns whether it ended.

        Raises:
            TimeoutError: Neither came.
            httpx.HTTPError: The connection broke.
        """
        async with asyncio.timeout(timeout_s):
            if until is not None and until(self):
                return False
            async for chunk in self._chunks[response]:
                self.feed(chunk)
                if until is not None and until(self):
                    return False
        return True


def has(kind: str, count: int = 1) -> Callable[[EventSource], bool]:
    """Say of a source whether it has so many events of a kind."""
    return lambda source: sum(taken.event == kind for taken in source.events) >= count


def transcript(events: list[Taken]) -> str:
    """What stands on a screen at the end, written down as the documentation tells a client to."""
    texts: dict[str, str] = {}
    ends: dict[str, str] = {}
    for taken in events:
        told = taken.json
        turn = told["turn_id"]
        texts.setdefault(turn, "")
        if taken.event == "delta":
            texts[turn] += told["text"]
        elif taken.event == "superseded":
            texts[turn] = ""
        elif taken.event in {"completed", "failed", "cancelled"}:
            texts[turn] = told.get("text") or texts[turn]
            ends[turn] = taken.event
    return "".join(f"{turn}\n{text}\n{ends.get(turn, 'unfinished')}\n\n" for turn, text in texts.items())
