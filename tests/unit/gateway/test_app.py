"""The application without a Kafka: routing, refusals, the document, and what is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from barnabas.gateway import app as app_module
from barnabas.gateway.app import MODULES, make_app
from barnabas.gateway.operation import operation_of
from barnabas.settings import Settings
from schemas.errors import CursorExpiredError, ForbiddenError


class RaisingModule:
    """A module whose handlers fail."""

    @staticmethod
    def routes() -> list[Route]:
        """Each raises something else."""

        async def expired(_request: Request) -> Response:
            raise CursorExpiredError("gone", earliest="1:2:-1")

        async def forbidden(_request: Request) -> Response:
            raise ForbiddenError("no")

        async def broken(_request: Request) -> Response:
            raise RuntimeError("a secret")

        return [
            Route("/expired", expired, methods=["GET"]),
            Route("/v1/forbidden", forbidden, methods=["GET"]),
            Route("/broken", broken, methods=["GET"]),
            Route("/broken", forbidden, methods=["POST"]),
        ]


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the application, which is not connected."""
    monkeypatch.setattr(app_module, "MODULES", (*MODULES, RaisingModule))
    made = make_app(Settings(data_dir=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://localhost") as opened:
        yield opened


def test_every_route_is_described(tmp_path: Path) -> None:
    """Nothing is served that the document does not tell of."""
    routes = [route for route in make_app(Settings(data_dir=tmp_path)).routes if isinstance(route, Route)]
    assert routes
    assert [route.path for route in routes if operation_of(route.endpoint) is None] == []


async def test_document_names_every_route_and_method(client: httpx.AsyncClient) -> None:
    """As it is served."""
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    told = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    served = {
        (route.path.replace(":path}", "}"), method)
        for module in MODULES
        for route in module.routes()
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served - told == set()


async def test_unknown_route_is_a_problem(client: httpx.AsyncClient) -> None:
    """404, and a body that says so."""
    answer = await client.get("/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "urn:barnabas:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "Not Found",
    }


async def test_wrong_method_names_all_that_are_allowed(client: httpx.AsyncClient) -> None:
    """Of every route with that path, not of the first alone, which is what Starlette says."""
    answer = await client.put("/broken")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_error_has_its_status_and_attributes(client: httpx.AsyncClient) -> None:
    """A client can act on it."""
    answer = await client.get("/expired")
    assert (answer.status_code, answer.json()["earliest"], answer.json()["code"]) == (410, "1:2:-1", "cursor_expired")


async def test_error_below_v1_has_the_shape_of_openai(client: httpx.AsyncClient) -> None:
    """Its client reads no other."""
    answer = await client.get("/v1/forbidden")
    expected = {"message": "no", "type": "permission_error", "param": None, "code": "forbidden"}
    assert (answer.status_code, answer.json()) == (403, {"error": expected})


async def test_unexpected_error_tells_nothing(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its text may hold anything; the log has it."""
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


async def test_head_has_no_body(client: httpx.AsyncClient) -> None:
    """A probe may ask so."""
    assert (await client.head("/healthz")).status_code == 200


async def test_not_connected_is_not_ready(client: httpx.AsyncClient) -> None:
    """But alive."""
    assert (await client.get("/healthz")).json() == {"status": "alive", "problems": []}
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")


async def test_metrics_count_by_route_never_by_path(client: httpx.AsyncClient) -> None:
    """A path is a caller's choice: there would be no end of labels."""
    for path in ("/healthz", "/a", "/b"):
        await client.get(path)
    shown = (await client.get("/metrics")).text
    assert 'barnabas_gateway_requests_total{method="GET",route="/healthz",status="200"} 1.0' in shown
    assert 'barnabas_gateway_requests_total{method="none",route="none",status="404"} 2.0' in shown


def test_without_kafka_the_lifespan_fails(tmp_path: Path) -> None:
    """Nothing pretends to be up."""
    from schemas.errors import BrokerError

    with pytest.raises(BrokerError), TestClient(make_app(Settings(data_dir=tmp_path))):
        pass
