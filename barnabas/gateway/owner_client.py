"""Asks workers for the sessions they own."""

from __future__ import annotations

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
_ANSWER_S: Final = 2.0

_Kind = TypeVar("_Kind", SessionAnswer, ListAnswer, WorkerFigures)

_OK: Final = 200
_MISDIRECTED: Final = 421


class Unserved(Enum):
    """Why a worker gave no answer."""

    WRONG = auto()  #: It is not the owner.
    DOWN = auto()  #: It could not be reached, or did not answer in time.
    NOT_NOW = auto()  #: It recovers, or would not answer.


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
            connector=aiohttp.TCPConnector(limit_per_host=32),
        )

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
            return Unserved.DOWN
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
