"""The application: every module's routes behind the same middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from barnabas.gateway import (
    agents,
    console,
    dead_letters,
    figures,
    health,
    me,
    messages,
    openai,
    openapi,
    reading,
    streams,
    websocket,
)
from barnabas.gateway.gateway import Gateway
from barnabas.gateway.observer import Observer
from barnabas.gateway.problems import ProblemBoundary, respond
from barnabas.gateway.security.guard import Guard, cross_origin
from barnabas.settings import Settings

#: Each has ``routes()``.
MODULES: Final[tuple[ModuleType, ...]] = (
    health,
    openapi,
    openai,
    messages,
    reading,
    me,
    agents,
    dead_letters,
    figures,
    streams,
    websocket,
    console,
)


def make_app(settings: Settings, *, gateway: Gateway | None = None) -> Starlette:
    """Return the application; its lifespan connects to Kafka and lets go of it.

    Args:
        settings: The deployment's.
        gateway: One that was made before; it may be open already.
    """
    shared = gateway or Gateway(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await shared.open()
        try:
            yield
        finally:
            await shared.close()

    routes = [route for module in MODULES for route in module.routes()]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(Observer, figures=shared.figures, routes=routes),
            *cross_origin(shared.options.security),
            Middleware(Guard, options=shared.options, authenticator=shared.authenticator),
            Middleware(ProblemBoundary),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.gateway = shared
    app.state.registry = health.registry_of(shared)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Answer where no route took the request, or one refused it."""
    if isinstance(error, HTTPException) and error.status_code == 405:  # noqa: PLR2004
        # Starlette names the methods of the first route of that path alone.
        allowed = ", ".join(sorted({*_methods(request.app.routes, request)}))
        error = HTTPException(405, f"{request.method} is not for this; allowed: {allowed}", {"Allow": allowed})
    return respond(error, request.url.path)


def _methods(routes: list[BaseRoute], request: Request) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            yield from route.methods or ()
