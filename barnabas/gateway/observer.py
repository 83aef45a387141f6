"""Counts requests and times them, by route."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barnabas.gateway.metrics import GatewayFigures

#: A label for what no route took: a path is a caller's choice, and there would be no end of them.
UNKNOWN = "none"


class Observer:
    """The outermost middleware.

    Args:
        figures: Where it counts.
        routes: Whose paths are the labels.
    """

    def __init__(self, app: ASGIApp, figures: GatewayFigures, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._figures = figures
        self._paths: dict[Any, str] = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            path = self._paths.get(scope.get("endpoint"), UNKNOWN)
            method = scope["method"] if path != UNKNOWN else UNKNOWN
            self._figures.answered(path, method, status, time.perf_counter() - began)
