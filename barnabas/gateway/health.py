"""``/healthz``, ``/readyz`` and ``/metrics`` of the gateway's own process."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, exposition
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import reply
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.operation import Reply, operation


class Health(Struct, frozen=True, kw_only=True):
    """How the gateway is.

    Attributes:
        status: In a word.
        problems: What is wrong, a sentence each.
    """

    status: Literal["alive", "ready", "not ready"]
    problems: list[str] = []


@operation("Is it alive?", tag="health", scope=None, replies={200: Reply(Health, "It answers.")})
async def healthz(_request: Request) -> Response:
    """Another start would help where there is no answer."""
    return reply(Health(status="alive"))


@operation(
    "Is it ready?",
    tag="health",
    scope=None,
    replies={200: Reply(Health, "Kafka answers."), 503: Reply(Health, "Kafka does not answer, or the gateway ends.")},
)
async def readyz(request: Request) -> Response:
    """A load balancer sends requests elsewhere where it is not."""
    problems = await gateway_of(request).problems()
    return reply(Health(status="not ready" if problems else "ready", problems=problems), 503 if problems else 200)


@operation(
    "Figures for Prometheus",
    tag="health",
    scope="operate",
    replies={200: Reply(str, "In Prometheus's text format.", media=("text/plain",))},
    refusals=(401, 403),
)
async def metrics(request: Request) -> Response:
    """Requests, durations, open streams, and the process."""
    content = exposition.generate_latest(request.app.state.registry)
    return Response(content, headers={"Cache-Control": "no-store", "Content-Type": exposition.CONTENT_TYPE_LATEST})


def registry_of(gateway: Gateway) -> CollectorRegistry:
    """Return what ``/metrics`` shows."""
    registry = CollectorRegistry()
    registry.register(gateway.figures)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
