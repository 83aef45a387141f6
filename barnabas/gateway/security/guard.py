"""Lets a request in, or says why not: the one middleware between the server and what it serves."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import partial
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from barnabas.gateway.options import GatewayOptions
from barnabas.gateway.problems import Refusal, respond
from barnabas.gateway.security.authenticator import SUBPROTOCOL, Authenticator, take_credentials
from barnabas.gateway.security.browsers import Browsers, network_of
from barnabas.gateway.security.exchange import Exchange
from barnabas.gateway.security.exposure import is_loopback_name
from barnabas.gateway.security.options import SecurityOptions
from barnabas.gateway.security.principal import NOBODY, Principal
from barnabas.gateway.security.request_body import RequestBody, announced_bytes, too_large
from barnabas.gateway.security.stream_counts import StreamCounts
from barnabas.gateway.security.token_buckets import TokenBuckets
from schemas.errors import BarnabasError, UnauthenticatedError

_log = structlog.get_logger(__name__)

#: What has no data of anybody: health, the console's files, the description of the interface. Every other path needs
#: credentials where anybody is asked for them, those of routes to come as well.
PUBLIC_PATHS: Final = frozenset({"/", "/favicon.ico", "/healthz", "/readyz", "/openapi.json"})
PUBLIC_PREFIX: Final = "/assets/"

#: In a WebSocket's ``scope["state"]``: what each of its orders calls, as a request of its own would be counted. Takes
#: nothing, and raises the refusal.
TAKE: Final = "take"

#: What pages of allowed sites may read beside the usual.
_EXPOSED: Final = (
    "Barnabas-Freshness",
    "Barnabas-Heartbeat",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Cursor",
    "X-Message-Id",
    "X-Session-Id",
    "X-Should-Retry",
    "X-Turn-Id",
    "X-Without-Effect",
)

#: Probes name the gateway by an address that no setting knows.
_PROBES: Final = frozenset({"/healthz", "/readyz"})
#: Paths whose responses last; one that is refused has had no effect yet. WebSockets last as well.
_STREAM_SUFFIX: Final = "/stream"
_COMPLETIONS: Final = "/v1/chat/completions"


class Guard:
    """Checks a request's name for us, its origin, its credentials, its rate and its size, in this order.

    One object and one frame a request, since ten thousand of them may last: what is checked again later (a body's
    size, a stream's credentials) is checked by what replaces ``receive`` and ``send``.

    Args:
        app: What is behind it.
        options: The settings.
        authenticator: Who asks.
    """

    def __init__(self, app: ASGIApp, *, options: GatewayOptions, authenticator: Authenticator) -> None:
        security = options.security
        is_loopback = is_loopback_name(options.host)
        self._app = app
        self._authenticator = authenticator
        self._max_body_bytes = options.max_body_bytes
        self._body_timeout_s = security.body_timeout_s
        self._browsers = Browsers(security.allowed_hosts, security.allowed_origins, is_loopback=is_loopback)
        self._has_limits = authenticator.asks or not is_loopback  # nobody has to be kept from one's own machine
        self._buckets = TokenBuckets(security.requests_per_s, security.burst)
        self._streams = StreamCounts(security.max_streams)
        self._max_streams = security.max_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(receive, send, offers_subprotocol=SUBPROTOCOL in scope.get("subprotocols", ()))
        try:
            principal, caller = await self._admit(scope)
            receive, send = self._ends(scope, receive, exchange)
        except (BarnabasError, HTTPException) as error:
            await _refuse(error, scope, receive, exchange)
            return
        state = scope.setdefault("state", {})
        state["principal"] = principal
        if scope["type"] == "websocket":
            state[TAKE] = partial(self._take, caller)
        exchange.expires_at = principal.expires_at
        place = self._streams.place(caller)
        if _lasts(scope):
            place.take()
        exchange.on_stream = place.take
        try:
            await self._app(scope, receive, send)
        except Exception:
            if not exchange.has_expired:  # else it has ended in order, and nobody is left to answer
                raise
        finally:
            place.give_back()

    def _ends(self, scope: Scope, receive: Receive, exchange: Exchange) -> tuple[Receive, Send]:
        """Return what the application reads from and writes to."""
        if scope["type"] == "websocket":
            return exchange.receive_from_websocket, exchange.send_to_websocket
        size = announced_bytes(scope["headers"])
        if size == 0:
            return receive, exchange.send
        if size is not None and size > self._max_body_bytes:
            raise too_large(self._max_body_bytes)
        return RequestBody(receive, self._max_body_bytes, self._body_timeout_s), exchange.send

    async def _admit(self, scope: Scope) -> tuple[Principal, Hashable]:
        """Return who asks, and as whom they are counted; None where nobody is."""
        path = scope["path"]
        credentials = take_credentials(scope)
        headers = dict(reversed(scope["headers"]))  # the first one of each name
        if path not in _PROBES:
            self._browsers.check_host(headers.get(b"host"))
        self._browsers.check_origin(headers)
        if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX):
            return NOBODY, None
        try:
            principal = await self._authenticator.authenticate(credentials)
        except UnauthenticatedError as error:
            address = _address(scope)
            self._take(("address", address))
            if error.had_credentials:
                _log.info("credentials refused", address=address, path=path)
            raise
        if not self._has_limits:
            return principal, None
        caller = (
            ("principal", principal.tenant, principal.subject)
            if self._authenticator.asks
            else ("address", _address(scope))
        )
        self._take(caller)
        if _lasts(scope) and self._streams.is_full(caller):
            text = f"{self._max_streams} streams are open; close one first"
            raise Refusal(429, "too_many_streams", text, headers={"Retry-After": "5"})
        return principal, caller

    def _take(self, caller: Hashable) -> None:
        if caller is None:
            return
        wait = self._buckets.take(caller)
        if wait:
            text = f"too many requests; wait {wait:.2g} s"
            raise Refusal(429, "rate_limited", text, headers={"Retry-After": str(math.ceil(wait))})


def cross_origin(options: SecurityOptions) -> list[Middleware]:
    """Return what tells browsers that pages of other sites may call the gateway; nothing where none may.

    Before the guard: a browser asks without credentials whether it may send some. No cookie is ever looked at, so that
    a page of an allowed site still has to know a key.
    """
    if not options.allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=options.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    ]


def _lasts(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "websocket" or path.endswith(_STREAM_SUFFIX) or path == _COMPLETIONS


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return network_of(client[0]) if client else "unknown"


async def _refuse(error: Exception, scope: Scope, receive: Receive, exchange: Exchange) -> None:
    """Answer with the error; a WebSocket's handshake with the same, as HTTP."""
    response = respond(error, scope["path"])
    if scope["type"] == "http":
        await response(scope, receive, exchange.send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await response(scope, receive, exchange.send_to_websocket)
    else:
        await exchange.send_to_websocket({"type": "websocket.close", "code": 1008})
