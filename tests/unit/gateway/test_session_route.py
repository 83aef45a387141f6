"""Which session a path names, over the whole way a request takes but the server."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from barnabas.gateway.app import make_app
from barnabas.gateway.session_route import SessionRoute, SessionSocketRoute
from barnabas.settings import Settings


async def _session(request: Request) -> Response:
    return JSONResponse(["session", request.path_params["id"]])


async def _events(request: Request) -> Response:
    return JSONResponse(["events", request.path_params["id"]])


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.path_params["id"])
    await websocket.close()


APP = Starlette(
    routes=[
        SessionRoute("/sessions/{id}", _session, methods=["GET"]),
        SessionRoute("/sessions/{id}/events", _events, methods=["GET"]),
        SessionSocketRoute("/sessions/{id}/ws", _socket),
    ]
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sessions/ada", ["session", "ada"]),
        ("/sessions/team%2Fada", ["session", "team/ada"]),
        ("/sessions/team%2fada/events", ["events", "team/ada"]),
        ("/sessions/team%2Fevents", ["session", "team/events"]),
        ("/sessions/%2F", ["session", "/"]),
        ("/sessions/%C3%A9%2F%25%2F%20", ["session", "é/%/ "]),
        ("/sessions/%252F", ["session", "%2F"]),
        ("/sessions/%ED%B0%AF%2F", ["session", "\ufffd\ufffd\ufffd/"]),  # what stands for a slash inside cannot be sent
        ("/sessions/team/ada", None),
    ],
)
async def test_encoded_slash_is_a_part_of_the_id(path: str, expected: list[str] | None) -> None:
    """What a publisher called its session can be read; a slash as such still parts the path.

    Fails with Starlette's own routes, which see decoded paths.
    """
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://localhost") as client:
        answer = await client.get(path)
    assert (answer.json() if answer.status_code == 200 else None) == expected


def test_websocket_of_an_encoded_slash_is_one() -> None:
    """As any request."""
    with TestClient(APP).websocket_connect("/sessions/team%2Fada/ws") as websocket:
        assert websocket.receive_json() == "team/ada"


def test_every_route_of_a_session_takes_any_id(tmp_path: Path) -> None:
    """None is forgotten."""
    routes = [route for route in make_app(Settings(data_dir=tmp_path)).routes if "{id}" in getattr(route, "path", "")]
    assert len(routes) == 9
    assert all(isinstance(route, SessionRoute | SessionSocketRoute) for route in routes)
