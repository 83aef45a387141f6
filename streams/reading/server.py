"""The read interface: HTTP on the worker's event loop, for gateways and nobody else."""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas.errors import SettingsError, StoreError
from streams.options import ReadOptions, is_loopback
from streams.reading.table_reads import Refusal, TableReads
from streams.reading.views import WORKER_HEADER, Selection, WorkerFigures

logger = logging.getLogger(__name__)

_STATUS: Final = {Refusal.NOT_OWNED: 421, Refusal.NOT_OPEN: 503}
_UNKNOWN: Final = 400
_MAX_PAGE: Final = 500

#: A key has any length that Kafka takes; percent-encoded it is three times as long.
_MAX_LINE: Final = 64 * 1024


class _ListQuery(Selection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    partitions: str
    limit: int
    after: str = ""


class ReadServer:
    """Answers ``/session``, ``/sessions`` and ``/figures`` for the partitions that are open here."""

    def __init__(self, options: ReadOptions, *, worker: str, prefix: str) -> None:
        """Listen; nothing is answered before :meth:`start`.

        Raises:
            SettingsError: The address cannot be had, or may not be used without a secret.
        """
        problem = options.problem()
        if problem is not None:
            field, text = problem
            raise SettingsError(f"reads.{field}: {text}")
        self._secret = None if options.secret is None else f"Bearer {options.secret.get_secret_value()}".encode()
        self._names = f"{prefix}/{worker}"
        try:
            family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
            self._socket = socket.create_server((options.host, options.port), family=family)
        except OSError as error:
            raise SettingsError(
                f"reads.port: {options.host}:{options.port} cannot be listened on ({error}); "
                "set another, 0 for a free one, or reads.enabled to false"
            ) from error
        shown = f"[{options.host}]" if ":" in options.host else options.host
        #: How gateways reach it.
        self.url = options.url or f"http://{shown}:{self._socket.getsockname()[1]}"
        self._runner: web.AppRunner | None = None

    async def start(self, reads: TableReads, figures: Callable[[float], WorkerFigures]) -> None:
        """Begin to answer."""
        self._reads, self._figures = reads, figures
        app = web.Application(middlewares=[self._admitted])
        app.router.add_get("/session", self._session)
        app.router.add_get("/sessions", self._sessions)
        app.router.add_get("/figures", self._shown)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=1.0, max_line_size=_MAX_LINE
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._socket.close()

    @web.middleware
    async def _admitted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self._secret is not None:
            given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
            if not hmac.compare_digest(given, self._secret):
                return _refused(401, "the secret is missing or wrong")
        elif not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            return _refused(403, "a page of another host asks")  # DNS rebinding: a browser on this machine
        # An address may have become another worker's, or of another deployment: its partitions have the same numbers.
        if request.headers.get(WORKER_HEADER) != self._names:
            return _refused(421, f"this is {self._names}")
        try:
            response: web.StreamResponse = await handler(request)
        except msgspec.ValidationError as error:
            return _refused(_UNKNOWN, str(error))
        except StoreError as error:
            logger.warning("a read failed: %s", error)
            return _refused(503, "the local store cannot be read")
        return response

    async def _session(self, request: web.Request) -> web.Response:
        found = self._reads.session(request.query.get("key", "").encode())
        if isinstance(found, Refusal):
            return _refused(_STATUS[found], found.value)
        return _answer(found)

    async def _sessions(self, request: web.Request) -> web.Response:
        query = msgspec.convert(dict(request.query), _ListQuery, strict=False)
        numbers = {int(text) for text in query.partitions.split(",") if text.isdecimal()}
        limit = max(1, min(query.limit, _MAX_PAGE))
        return _answer(await self._reads.sessions(numbers, query, after=query.after.encode(), limit=limit))

    async def _shown(self, request: web.Request) -> web.Response:
        return _answer(self._figures(float(request.query.get("window_s", "10"))))


def _answer(body: Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _refused(status: int, why: str) -> web.Response:
    return web.json_response({"error": why}, status=status)
