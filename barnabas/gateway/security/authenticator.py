"""Says of each request and each WebSocket who asks."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from barnabas.gateway.security.principal import LOCAL


class Authenticator:
    """Puts the :class:`Principal` into ``scope["state"]["principal"]``: with security off, the same for everybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope."""
        if scope["type"] != "lifespan":
            scope.setdefault("state", {})["principal"] = LOCAL
        await self._app(scope, receive, send)
