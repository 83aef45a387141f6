"""Who is let in, and what everybody is told who is not; with an application behind it that tells what it got."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from barnabas.gateway.options import GatewayOptions
from barnabas.gateway.problems import ProblemBoundary, respond
from barnabas.gateway.security import exchange
from barnabas.gateway.security.api_key import new_key
from barnabas.gateway.security.authenticator import Authenticator
from barnabas.gateway.security.guard import Guard, cross_origin
from barnabas.gateway.security.options import ApiKeyOptions, JwtOptions, SecurityOptions
from barnabas.gateway.security.response_headers import SECURITY_HEADERS

KEY, SHORT = new_key("ada"), new_key("short")
AUTHORIZED = {"Authorization": f"Bearer {KEY.key}"}
SITE = "https://app.example.com"


def _options(*, host: str = "127.0.0.1", max_body_bytes: int = 1_000, asks: bool = True, **more: Any) -> GatewayOptions:
    keys = {
        "ada": ApiKeyOptions(hash=KEY.hash, tenant="acme", scopes=("sessions:read",)),
        "short": ApiKeyOptions(
            hash=SHORT.hash, scopes=("sessions:read",), expires=datetime.now(UTC) + timedelta(hours=1)
        ),
    }
    security = SecurityOptions(api_keys=keys if asks else {}, **more)
    return GatewayOptions(host=host, max_body_bytes=max_body_bytes, security=security)


class _Behind:
    """An application, and what comes of its streams."""

    def __init__(self, options: GatewayOptions) -> None:
        self.streaming = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ended_with: list[BaseException] = []
        routes = [
            Route("/echo", self.echo, methods=["GET", "POST"]),
            Route("/sessions/{id}/stream", self.stream),
            Route("/unannounced", self.stream),
            Route("/healthz", self.echo),
            Route("/broken", self.broken),
            WebSocketRoute("/ws", self.websocket),
        ]
        authenticator = Authenticator(options.security, is_loopback=options.host == "127.0.0.1")
        self.app = Starlette(
            routes=routes,
            middleware=[
                *cross_origin(options.security),
                Middleware(Guard, options=options, authenticator=authenticator),
                Middleware(ProblemBoundary),
            ],
            exception_handlers={HTTPException: lambda request, error: respond(error, request.url.path)},
        )

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        principal = request.state.principal
        told = {"subject": principal.subject, "tenant": principal.tenant, "bytes": len(body)}
        return JSONResponse({**told, "headers": dict(request.headers)})

    async def broken(self, _request: Request) -> Response:
        raise RuntimeError("broken")

    async def stream(self, _request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b"data: 1\n\n"
                self.streaming.set()
                await self.go_on.wait()
                yield b"data: 2\n\n"
                yield b"data: 3\n\n"
            except BaseException as error:
                self.ended_with.append(error)
                raise

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def websocket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect as error:
            self.ended_with.append(error)


Make = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Give a function that makes a client of a guarded application."""
    clients: list[httpx.AsyncClient] = []

    def client(*, address: str = "127.0.0.1", base: str = "http://localhost", **options: Any) -> httpx.AsyncClient:
        app = _Behind(_options(**options)).app
        transport = httpx.ASGITransport(app, client=(address, 1))
        clients.append(httpx.AsyncClient(transport=transport, base_url=base))
        return clients[-1]

    yield client
    for each in clients:
        await each.aclose()


async def test_key_names_the_principal_and_goes_no_further(make: Make) -> None:
    """What is behind cannot log it or pass it on; fails where ``take_credentials`` leaves it in."""
    answer = await make().get("/echo", headers=AUTHORIZED)
    told = answer.json()
    assert (told["subject"], told["tenant"]) == ("key:ada", "acme")
    assert KEY.key not in answer.text
    assert "authorization" not in told["headers"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY.key}"},
        {"Authorization": f"Bearer {SHORT.key[:-1]}"},
        {"Authorization": f"Bearer {KEY.key} x"},
        {"Authorization": "Bearer " + "x" * 20_000},
        {"X-Api-Key": KEY.key},
        {"Cookie": f"key={KEY.key}"},
        [("Authorization", f"Bearer {KEY.key}"), ("Authorization", "Bearer other")],
    ],
)
@pytest.mark.parametrize(
    "path", ["/echo", "/echo?access_token=x", "/nothing", "/HEALTHZ", "/healthz/", "/%2f", "/assets", "/metrics"]
)
async def test_without_a_good_key_nothing_is_said(make: Make, headers: Any, path: str) -> None:
    """401 on any path that is not public, known or not, with the scheme that is expected; never the key."""
    answer = await make().get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="barnabas"')
    assert KEY.key not in answer.text + str(answer.headers)
    assert answer.json()["code"] == "unauthenticated"


async def test_challenge_says_whether_there_were_credentials(make: Make) -> None:
    """RFC 6750: ``error`` where there were some."""
    none = await make().get("/echo")
    wrong = await make().get("/echo", headers={"Authorization": "Bearer x"})
    assert none.headers["www-authenticate"] == 'Bearer realm="barnabas"'
    assert wrong.headers["www-authenticate"] == 'Bearer realm="barnabas", error="invalid_token"'


async def test_public_paths_ask_nobody(make: Make) -> None:
    """And give nobody's scopes."""
    told = (await make().get("/healthz")).json()
    assert (told["subject"], told["tenant"]) == ("nobody", None)


async def test_off_on_loopback_everybody_is_local(make: Make) -> None:
    """No limits there either."""
    client = make(asks=False, burst=1, requests_per_s=0.001)
    for _ in range(5):
        assert (await client.get("/echo")).json()["subject"] == "local"


async def test_allowed_anonymous_is_counted_by_address(make: Make) -> None:
    """Nothing else tells callers apart."""
    client = make(asks=False, allow_anonymous=True, host="0.0.0.0", base="http://any", burst=1, requests_per_s=0.001)
    assert (await client.get("/echo")).json()["subject"] == "anonymous"
    assert (await client.get("/echo")).status_code == 429


async def test_every_response_has_the_security_headers(make: Make) -> None:
    """Answers, refusals and failures; data is kept by nobody."""
    client = make()
    for path, headers in (("/echo", AUTHORIZED), ("/echo", {}), ("/nothing", AUTHORIZED), ("/broken", AUTHORIZED)):
        answer = await client.get(path, headers=headers)
        for name, value in SECURITY_HEADERS:
            assert answer.headers[name.decode()] == value.decode()
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("asks", [True, False])
async def test_page_of_another_site_is_refused(make: Make, *, asks: bool) -> None:
    """With a key as well; the body is not read. No answer tells a browser that a foreign page may read it."""
    client = make(asks=asks)
    for origin in ("https://evil.example", "null"):
        for method in ("GET", "POST", "OPTIONS"):
            answer = await client.request(method, "/echo", headers={**AUTHORIZED, "Origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
            assert "access-control-allow-origin" not in answer.headers
    assert (await client.get("/echo", headers={**AUTHORIZED, "Origin": "http://localhost"})).status_code == 200


async def test_rebound_name_is_refused(make: Make) -> None:
    """On loopback; probes name an address."""
    client = make(base="http://evil.example", asks=False)
    assert (await client.get("/echo")).status_code == 421
    assert (await client.get("/healthz")).status_code == 200
    assert (await make(base="http://10.0.0.1", host="0.0.0.0").get("/echo", headers=AUTHORIZED)).status_code == 200


async def test_allowed_site_may_ask_before_and_read_after(make: Make) -> None:
    """Its page, with a key it knows; refusals can be read, too. No other site may."""
    client = make(allowed_origins=(SITE,))
    asked = {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization, x-stainless-os",
    }
    before = await client.options("/echo", headers={**asked, "Origin": SITE})
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == SITE
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in before.headers
    for headers, status in ((AUTHORIZED, 200), ({}, 401)):
        answer = await client.get("/echo", headers={**headers, "Origin": SITE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, SITE)
    other = await client.options("/echo", headers={**asked, "Origin": "https://evil.example"})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


async def test_flood_of_one_caller_is_held_back(make: Make) -> None:
    """By principal; ``Retry-After`` says how long. Wrong keys are counted by address, and stop nobody else there."""
    client = make(burst=3, requests_per_s=0.001)
    statuses = [(await client.get("/echo", headers=AUTHORIZED)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    held = await client.get("/echo", headers=AUTHORIZED)
    assert 1 <= int(held.headers["retry-after"]) <= 1000
    wrong = [(await client.get("/echo", headers={"Authorization": "Bearer x"})).status_code for _ in range(5)]
    assert wrong == [401, 401, 401, 429, 429]
    short = {"Authorization": f"Bearer {SHORT.key}"}
    assert (await client.get("/echo", headers=short)).status_code == 200
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("size", [1_000, 1_001, 100_000])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_body_has_a_bound(make: Make, size: int, *, is_chunked: bool) -> None:
    """Whether its size is said or not; fails for chunks where ``RequestBody`` counts nothing."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 500):
            yield b"x" * min(500, size - start)

    content: Any = chunks() if is_chunked else b"x" * size
    answer = await make().post("/echo", headers=AUTHORIZED, content=content)
    assert answer.status_code == (200 if size <= 1_000 else 413)
    assert answer.json().get("code") == (None if size <= 1_000 else "body_too_large")


async def test_absurd_length_is_too_large(make: Make) -> None:
    """Where a server lets it through."""
    for length in ("99999999999999999999999", "-1", "1e9", ""):
        answer = await make().post("/echo", headers={**AUTHORIZED, "Content-Length": length}, content=b"")
        assert answer.status_code == 413


async def test_body_that_does_not_come_is_given_up() -> None:
    """After its time; fails without the deadline, when the request lasts for ever."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await _Behind(_options(body_timeout_s=0.05)).app(
        _scope("http", "/echo", {**AUTHORIZED, "Content-Length": "5"}, method="POST"), _never, send
    )
    assert sent[0]["status"] == 408


async def _never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def _scope(kind: str, path: str, headers: Mapping[str, str], **more: Any) -> dict[str, Any]:
    offered = [word.strip() for word in headers.get("Sec-WebSocket-Protocol", "").split(",") if word]
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in {"Host": "localhost", **headers}.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "extensions": {"websocket.http.response": {}},
        **({"subprotocols": offered} if kind == "websocket" else {}),
        **more,
    }


class _Peer:
    """The other end of a connection to the application."""

    def __init__(self, app: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
        self.got: asyncio.Queue[Message] = asyncio.Queue()
        self.all: list[Message] = []
        self._to_send: asyncio.Queue[Message] = asyncio.Queue()
        self.scope = scope
        if scope["type"] == "websocket":
            self.say({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(scope, self._to_send.get, self._take))

    async def _take(self, message: Message) -> None:
        self.all.append(message)
        self.got.put_nowait(message)

    def say(self, message: Message) -> None:
        self._to_send.put_nowait(message)

    async def leave(self) -> None:
        self.say(
            {"type": "websocket.disconnect" if self.scope["type"] == "websocket" else "http.disconnect", "code": 1000}
        )
        await asyncio.wait_for(self.task, 60)


async def test_open_streams_of_one_caller_are_bounded() -> None:
    """Refused before it has an effect; a closed one makes room, and short requests go on."""
    behind = _Behind(_options(max_streams=2))
    peers = [_Peer(behind.app, _scope("http", f"/sessions/{n}/stream", AUTHORIZED, method="GET")) for n in range(2)]
    for peer in peers:
        assert (await peer.got.get())["status"] == 200
    third = _Peer(behind.app, _scope("http", "/sessions/2/stream", AUTHORIZED, method="GET"))
    assert (await third.got.get())["status"] == 429
    fourth = _Peer(behind.app, _scope("websocket", "/ws", AUTHORIZED))
    refused = await fourth.got.get()
    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 429)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(behind.app), base_url="http://localhost") as client:
        assert (await client.get("/echo", headers=AUTHORIZED)).status_code == 200
    await peers[0].leave()
    fifth = _Peer(behind.app, _scope("http", "/sessions/2/stream", AUTHORIZED, method="GET"))
    assert (await fifth.got.get())["status"] == 200
    for peer in (peers[1], fifth):
        await peer.leave()


async def test_stream_on_a_path_that_nobody_thought_of_is_counted() -> None:
    """By its media type: late, so that the next one is refused."""
    behind = _Behind(_options(max_streams=1))
    first = _Peer(behind.app, _scope("http", "/unannounced", AUTHORIZED, method="GET"))
    assert (await first.got.get())["status"] == 200
    second = _Peer(behind.app, _scope("http", "/sessions/2/stream", AUTHORIZED, method="GET"))
    assert (await second.got.get())["status"] == 429
    await first.leave()


async def test_stream_ends_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, at the next thing to be sent: its client goes on with new ones; fails without ``expires_at``."""
    now = [time.time()]
    monkeypatch.setattr(exchange, "time", type("Time", (), {"time": staticmethod(lambda: now[0])}))
    behind = _Behind(_options())
    headers = {"Authorization": f"Bearer {SHORT.key}"}
    peer = _Peer(behind.app, _scope("http", "/sessions/1/stream", headers, method="GET"))
    await behind.streaming.wait()
    now[0] += 3601
    behind.go_on.set()
    await asyncio.wait_for(peer.task, 60)
    assert [message.get("body") for message in peer.all] == [None, b"data: 1\n\n", b""]
    assert peer.all[-1]["more_body"] is False


async def test_websocket_ends_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle as well: closed as against the policy; what is behind sees its client go."""
    late = time.time() + 3599.95  # by this clock the key is about to end, however long the handshake takes
    monkeypatch.setattr(exchange, "time", type("Time", (), {"time": staticmethod(lambda: late)}))
    behind = _Behind(_options())
    peer = _Peer(behind.app, _scope("websocket", "/ws", {"Authorization": f"Bearer {SHORT.key}"}))
    assert (await peer.got.get())["type"] == "websocket.accept"
    await asyncio.wait_for(peer.task, 60)
    assert peer.all[-1] == {"type": "websocket.close", "code": 1008, "reason": "credentials expired"}
    assert isinstance(behind.ended_with[0], WebSocketDisconnect)


async def test_websocket_takes_a_key_as_a_subprotocol() -> None:
    """A browser can set no header; the key is not echoed, and what is behind does not see it."""
    behind = _Behind(_options())
    offered = {"Sec-WebSocket-Protocol": f"barnabas.v1, bearer.{KEY.key}"}
    peer = _Peer(behind.app, _scope("websocket", "/ws", offered))
    accepted = await peer.got.get()
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "barnabas.v1")
    assert KEY.key not in f"{peer.scope}{accepted}"
    assert peer.scope["state"]["principal"].subject == "key:ada"
    await peer.leave()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-WebSocket-Protocol": "barnabas.v1"},
        {"Sec-WebSocket-Protocol": f"barnabas.v1, bearer.{KEY.key}x"},
        {"Sec-WebSocket-Protocol": f"bearer.{KEY.key}", **AUTHORIZED},
    ],
)
async def test_websocket_without_a_good_key_is_refused(headers: dict[str, str]) -> None:
    """In its handshake, with the same body as any request."""
    peer = _Peer(_Behind(_options()).app, _scope("websocket", "/ws", headers))
    await peer.task
    assert (peer.all[0]["type"], peer.all[0]["status"]) == ("websocket.http.response.start", 401)
    assert KEY.key.encode() not in peer.all[1]["body"]


async def test_websocket_of_another_site_is_refused() -> None:
    """It knows no CORS: a foreign page could do everything; with security off above all."""
    for asks in (True, False):
        headers = {"Origin": "https://evil.example", **AUTHORIZED}
        peer = _Peer(_Behind(_options(asks=asks)).app, _scope("websocket", "/ws", headers))
        await peer.task
        assert (peer.all[0]["type"], peer.all[0]["status"]) == ("websocket.http.response.start", 403)
    own = _Peer(_Behind(_options()).app, _scope("websocket", "/ws", {"Origin": "http://localhost", **AUTHORIZED}))
    assert (await own.got.get())["type"] == "websocket.accept"
    await own.leave()


async def test_server_without_the_extension_closes_instead() -> None:
    """Which it answers with 403."""
    peer = _Peer(_Behind(_options()).app, _scope("websocket", "/ws", {}, extensions={}))
    await peer.task
    assert peer.all == [{"type": "websocket.close", "code": 1008}]


async def test_issuer_that_is_away_is_no_answer_about_the_caller() -> None:
    """503 with a time, not 401: the token may be sound; API keys go on."""
    options = _options(jwt=JwtOptions(issuer="i", audience="a", jwks_url="http://127.0.0.1:1/jwks"))
    token = jwt.encode({}, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "one"})
    transport = httpx.ASGITransport(_Behind(options).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        away = await client.get("/echo", headers={"Authorization": f"Bearer {token}"})
        assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, "keys_unavailable", "5")
        assert (await client.get("/echo", headers=AUTHORIZED)).status_code == 200
