"""Asks workers for the sessions they own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from streams.options import ReadOptions
from streams.reading.views import WORKER_HEADER, ListAnswer, Selection, SessionAnswer, WorkerFigures
from topics.members import Member

logger = logging.getLogger(__name__)

_CONNECT_S: Final = 0.5
#: Longest wait for an answer, from when the question is sent.
_ANSWER_S: Final = 2.0

#: Questions to one worker at once, and the longest wait for a place among them: a burst is answered one by one,
#: and is no sign of a dead worker.
_AT_ONCE: Final = 32
_QUEUE_S: Final = 5.0

_Kind = TypeVar("_Kind", SessionAnswer, ListAnswer, WorkerFigures)

_OK: Final = 200
_MISDIRECTED: Final = 421


class Unserved(Enum):
    """Why a worker gave no answer."""

    WRONG = auto()  #: It is not the owner.
    DOWN = auto()  #: It could not be reached, or answered nobody in time.
    BUSY = auto()  #: It answers others, and has no time for this one.
    NOT_NOW = auto()  #: It recovers, or would not answer.


class _Line:
    """Those who ask one worker.

    Attributes:
        users: How many they are, waiting or asking.
        answers: How many it answered.
        failures: How often it was found to be down.
    """

    __slots__ = ("answers", "failures", "places", "users")

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(_AT_ONCE)
        self.users = self.answers = self.failures = 0


class OwnerClient:
    """One HTTP client of all workers; connections are kept.

    Args:
        options: Their secret.
        prefix: Of the deployment.
    """

    def __init__(self, options: ReadOptions, prefix: str) -> None:
        self._prefix = prefix
        secret = options.secret
        self._headers = {} if secret is None else {"Authorization": f"Bearer {secret.get_secret_value()}"}
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=_CONNECT_S),
            connector=aiohttp.TCPConnector(limit=0),  # a wait for a connection would count as one for the answer
        )
        self._lines: dict[str, _Line] = {}

    async def session(self, member: Member, key: bytes) -> SessionAnswer | Unserved:
        """Return a session as the worker has it."""
        return await self._get(member, "/session", {"key": key.decode()}, SessionAnswer)

    async def sessions(
        self, member: Member, partitions: Iterable[int], selection: Selection, *, after: str, limit: int
    ) -> ListAnswer | Unserved:
        """Return sessions of the worker's partitions behind the key ``after``."""
        asked = {name: value for name, value in msgspec.to_builtins(selection).items() if value is not None}
        query = {**asked, "partitions": ",".join(map(str, partitions)), "after": after, "limit": limit}
        return await self._get(member, "/sessions", query, ListAnswer)

    async def figures(self, member: Member, window_s: int) -> WorkerFigures | Unserved:
        """Return the worker's figures."""
        return await self._get(member, "/figures", {"window_s": window_s}, WorkerFigures)

    async def close(self) -> None:
        """Release the connections."""
        await self._http.close()

    async def _get(self, member: Member, path: str, query: Mapping[str, Any], kind: type[_Kind]) -> _Kind | Unserved:
        line = self._lines.setdefault(member.url, _Line())
        line.users += 1
        try:
            return await self._ask(line, member, path, query, kind)
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[member.url]

    async def _ask(
        self, line: _Line, member: Member, path: str, query: Mapping[str, Any], kind: type[_Kind]
    ) -> _Kind | Unserved:
        failures = line.failures
        try:
            async with asyncio.timeout(_QUEUE_S):
                await line.places.acquire()
        except TimeoutError:
            return Unserved.BUSY
        try:
            if line.failures != failures:
                return Unserved.DOWN  # somebody has found out meanwhile
            answers = line.answers
            found = await self._answer(member, path, query, kind)
            if found is Unserved.BUSY and line.answers == answers:
                found = Unserved.DOWN  # the dead answer nobody
            if found is Unserved.DOWN:
                line.failures += 1
            elif found is not Unserved.BUSY:
                line.answers += 1
            return found
        finally:
            line.places.release()

    async def _answer(self, member: Member, path: str, query: Mapping[str, Any], kind: type[_Kind]) -> _Kind | Unserved:
        headers = {**self._headers, WORKER_HEADER: f"{self._prefix}/{member.worker}"}
        params = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}
        try:
            request = self._http.get(member.url + path, params=params, headers=headers, allow_redirects=False)
            async with request as answer:
                body = await answer.read()
            if answer.status == _OK:
                return msgspec.json.decode(body, type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.info("%s at %s does not answer: %r", member.worker, member.url, error)
            return Unserved.BUSY if isinstance(error, TimeoutError) else Unserved.DOWN
        except msgspec.DecodeError as error:
            logger.warning("%s at %s answers what cannot be read: %s", member.worker, member.url, error)
            return Unserved.NOT_NOW
        if answer.status == _MISDIRECTED:
            return Unserved.WRONG
        if answer.status in {401, 403}:
            logger.warning(
                "%s at %s refuses this gateway (%d): is reads.secret the same here and there?",
                member.worker, member.url, answer.status,
            )  # fmt: skip
        return Unserved.NOT_NOW
