"""Who reaches what, over real HTTP: another tenant's session by every route, every route without its scope.

The routes are those of the application's own table, so that none can be forgotten: one that comes to be is expected to
answer 401 without credentials, 403 without its scope, and 404 for another tenant's session, until somebody says here
why not. The gateway runs with ``--debug``, and nothing it says or writes down may hold a key (``Secured.ask`` looks at
every response, the last test at the log). Seen to fail: with ``"acme"`` for the principal's tenant in a reading, the
streaming or the cancelling handler, with ``permitted`` of ``operation.py`` asking for nothing, with ``PUBLIC_PREFIX``
set to ``/``, with the log's redaction taken away.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from barnabas.gateway.app import MODULES
from barnabas.gateway.operation import operation_of
from barnabas.gateway.security.api_key import NewKey, new_key
from barnabas.gateway.security.guard import PUBLIC_PATHS, PUBLIC_PREFIX
from barnabas.gateway.security.principal import ALL_SCOPES
from streams.providers.scripted import ScriptedCall
from tests.support.deployment import PARTITIONS, Deployment
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S, CONDITION_S
from topics.partitioner import partition_for, session_key

SCOPES = sorted(ALL_SCOPES)
MARKER = "a-thing-that-only-acme-knows"
ISSUER = "https://id.example.com/"
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1())

#: By name: the tenant and the scopes of a key.
HOLDERS: dict[str, tuple[str | None, list[str]]] = {
    "acme": ("acme", SCOPES),
    "globex": ("globex", [scope for scope in SCOPES if scope != "operate"]),
    "plain": (None, [scope for scope in SCOPES if scope != "operate"]),
    **{f"without-{scope.replace(':', '-')}": ("acme", [s for s in SCOPES if s != scope]) for scope in SCOPES},
}

#: What is sent to another tenant's session goes to one of one's own, of the same name: a session comes to be with its
#: first message, and the gateway, which keeps nothing, cannot know whether one is about to. Each has a test of its own.
TO_ONE_S_OWN = {
    ("POST", "/sessions/{id}/messages"): 202,
    ("POST", "/sessions/{id}/cancel"): 202,
    ("DELETE", "/sessions/{id}"): 202,
    ("GET", "/sessions/{id}/stream"): 200,
    ("WS", "/sessions/{id}/ws"): 101,
}

#: What takes any credentials that are good.
OF_ANYBODY = {"/me"}

#: A body that is right, where one is needed.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/sessions/{id}/messages"): {"text": "fast"},
    ("POST", "/sessions/{id}/cancel"): {"turn_id": "x"},
    ("POST", "/v1/chat/completions"): {"model": "assistant", "messages": [{"role": "user", "content": "count"}]},
}


def _table() -> list[tuple[str, str, str | None]]:
    """Method, path and scope of every route; of a mount anything below it."""
    found: list[tuple[str, str, str | None]] = []
    for module in MODULES:
        for route in module.routes():
            if isinstance(route, Route):
                told = operation_of(route.endpoint)
                scope = told.scope if told is not None else None
                found += [(method, route.path, scope) for method in sorted((route.methods or set()) - {"HEAD"})]
            elif isinstance(route, WebSocketRoute):
                found.append(("WS", route.path, "sessions:read"))
            else:
                assert isinstance(route, Mount), route
                found.append(("GET", f"{route.path}/x", None))
    return found


ROUTES = _table()


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)


@dataclass(frozen=True)
class Secured:
    """A gateway that asks who one is, and those who may say so."""

    process: GatewayProcess
    keys: dict[str, NewKey]
    http: httpx.Client

    @property
    def secrets(self) -> list[str]:
        """What nobody may see."""
        return [key.key.rpartition("_")[2] for key in self.keys.values()]

    def headers(self, holder: str | None) -> dict[str, str]:
        """What somebody sends; ``jwt:TENANT`` sends a token."""
        if holder is None:
            return {}
        return {"Authorization": f"Bearer {_token(holder[4:]) if holder[:4] == 'jwt:' else self.keys[holder].key}"}

    def ask(self, holder: str | None, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request, and look at its response for keys."""
        headers = {**self.headers(holder), **more.pop("headers", {})}
        response = self.http.request(method, path, headers=headers, **more)
        self.look_at(f"{response.headers}{response.text}")
        return response

    def look_at(self, text: str) -> None:
        """Fail where there is a key in it."""
        assert not [secret for secret in self.secrets if secret in text]

    def connect(self, path: str, holder: str | None, **more: Any) -> connect:
        """Open a WebSocket."""
        address = self.process.url.replace("http", "ws", 1) + path
        headers = {**self.headers(holder), **more.pop("headers", {})}
        # With a queue that can be full the client does not read on, nor the answer to its close.
        return connect(address, additional_headers=headers, max_queue=None, **more)


def _token(tenant: str | None, **changed: Any) -> str:
    claims = {"iss": ISSUER, "aud": "barnabas", "sub": "ada", "exp": time.time() + 600, "tenant": tenant}
    claims["scope"] = "sessions:read sessions:write sessions:erase"
    kept = {name: value for name, value in {**claims, **changed}.items() if value is not None}
    return jwt.encode(kept, SIGNING_KEY, algorithm="ES256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def secured(served: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Give a gateway with a key for each of ``HOLDERS``, and an issuer of tokens."""
    keys = {name: new_key(name) for name in HOLDERS}
    jwks = tmp_path_factory.mktemp("issuer") / "jwks.json"
    public = jwt.get_algorithm_by_name("ES256").to_jwk(SIGNING_KEY.public_key(), as_dict=True)
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "one"}]}))
    security = {
        "api_keys": {
            name: {"hash": keys[name].hash, "tenant": tenant, "scopes": scopes}
            for name, (tenant, scopes) in HOLDERS.items()
        },
        "jwt": {"issuer": ISSUER, "audience": "barnabas", "jwks_file": str(jwks)},
        "requests_per_s": 1000.0,
        "burst": 1000,
        "max_streams": 3,
    }
    env = {"BARNABAS_GATEWAY__SECURITY": json.dumps(security)}
    with (
        GatewayProcess(served, env=env, arguments=("--debug",)) as process,
        httpx.Client(base_url=process.url, timeout=ANSWER_S) as http,
    ):
        yield Secured(process, keys, http)


def _session_like(key: str, tenants: list[str | None]) -> str:
    """A session id that lies on one partition for all of these tenants: then a cursor of one fits another's."""
    while True:
        session = f"{key}-{uuid.uuid4().hex[:8]}"
        if len({partition_for(session_key(session, tenant), PARTITIONS) for tenant in tenants}) == 1:
            return session


@pytest.fixture(scope="module")
def acme_session(secured: Secured, served: Deployment) -> dict[str, Any]:
    """Give what the answer to acme's first message was: ids and cursor, and that of its end."""
    session = _session_like("secret", ["acme", "globex", None])
    path = f"/sessions/{session}/messages"
    accepted = secured.ask("acme", "POST", path, json={"text": f"fast {MARKER}"}, headers={"Idempotency-Key": "one"})
    assert accepted.status_code == 202, accepted.text
    body: dict[str, Any] = accepted.json()
    served.wait(lambda: body["turn_id"] in served.log().outcomes, "acme's message is answered")
    return body


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_route_asks_who_one_is(secured: Secured, method: str, path: str, scope: str | None) -> None:
    """401 without credentials or with wrong ones, on every route but the public ones: those without a scope, or /me."""
    assert _is_public(path) is (scope is None and path not in OF_ANYBODY)
    for headers in ({}, {"Authorization": f"Bearer {new_key('acme').key}"}, {"Authorization": f"Bearer {_token('')}"}):
        if method == "WS":
            with pytest.raises(InvalidStatus) as refused:
                await secured.connect(_filled(path), None, headers=headers)
            status, challenge = refused.value.response.status_code, refused.value.response.headers["WWW-Authenticate"]
        else:
            answer = await asyncio.to_thread(secured.ask, None, method, _filled(path), headers=headers)
            status, challenge = answer.status_code, answer.headers.get("WWW-Authenticate", "")
        if _is_public(path):
            assert status not in {401, 403}
        else:
            assert (status, challenge.startswith("Bearer")) == (401, True)


@pytest.mark.parametrize(("method", "path", "scope"), [route for route in ROUTES if route[2] is not None])
async def test_route_asks_for_its_scope(secured: Secured, method: str, path: str, scope: str) -> None:
    """403 for whoever has all scopes but that one, who is told which; a WebSocket is closed with it."""
    holder = f"without-{scope.replace(':', '-')}"
    if method == "WS":
        async with secured.connect(_filled(path), holder) as websocket:
            with pytest.raises(ConnectionClosed) as closed:
                await _read_to_the_end(websocket)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403
        return
    body = BODIES.get((method, path))
    answer = await asyncio.to_thread(secured.ask, holder, method, _filled(path), json=body)
    assert answer.status_code == 403, answer.text
    assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]


async def _read_to_the_end(websocket: ClientConnection) -> None:
    while True:
        await websocket.recv()


@pytest.mark.parametrize("intruder", ["globex", "plain", "jwt:globex"])
@pytest.mark.parametrize(("method", "path"), [route[:2] for route in ROUTES if "{id" in route[1] and route[0] != "WS"])
def test_another_tenant_s_session_is_not_there(
    secured: Secured, acme_session: dict[str, Any], intruder: str, method: str, path: str
) -> None:
    """404 by its name, and by the name that its key has in Kafka; what is sent goes to one's own session.

    Behind one's own tenant that key is a session id as well, though none that the gateway makes; else it is none.
    """
    body = BODIES.get((method, path))
    session = acme_session["session_id"]
    own = TO_ONE_S_OWN.get((method, path), 404)
    by_key = 422 if intruder == "plain" or path.endswith("/messages") else own
    for name, expected in ((session, own), (f"acme/{session}", 404), (f"acme%2F{session}", by_key)):
        request = secured.http.build_request(
            method, path.replace("{id}", name), headers=secured.headers(intruder), json=body
        )
        answer = secured.http.send(request, stream=True)
        try:
            assert answer.status_code == expected
            if "event-stream" not in answer.headers.get("content-type", ""):
                assert MARKER not in answer.read().decode()
                assert acme_session["turn_id"] not in answer.text
        finally:
            answer.close()


@pytest.mark.parametrize("intruder", ["globex", "plain", "jwt:globex"])
@pytest.mark.parametrize("path", [path for method, path, _ in ROUTES if method == "GET" and "{" not in path])
def test_no_list_shows_another_tenant_s_session(
    secured: Secured, acme_session: dict[str, Any], intruder: str, path: str
) -> None:
    """Whatever is listed, on any page."""
    answer = secured.ask(intruder, "GET", path)
    while True:
        assert MARKER not in answer.text
        assert acme_session["turn_id"] not in answer.text
        assert acme_session["session_id"] not in answer.text or "globex/" in answer.text
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        following = answer.json().get("next_cursor") if is_json and answer.status_code == 200 else None
        if not following:
            return
        answer = secured.ask(intruder, "GET", path, params={"cursor": following})


def test_dead_letters_are_of_one_s_own_tenant(secured: Secured, served: Deployment) -> None:
    """Whoever may operate for a tenant is shown no text of others. Seen to fail without the filter."""
    for key in (b"acme/poisoned", b"globex/poisoned", b"poisoned"):
        served.produce(served.names.messages, json.dumps({"text": "", "metadata": {"of": key.decode()}}).encode(), key)
    served.flush()
    served.wait(
        lambda: len([one for one in served.dead_letters() if "poisoned" in str(one)]) >= 3, "three dead letters"
    )
    shown = secured.ask("acme", "GET", "/dead-letters", params={"cause": "empty_text"})
    found = [(letter["tenant"], letter["session_id"]) for letter in shown.json()["dead_letters"]]
    assert ("acme", "poisoned") in found
    assert {tenant for tenant, _ in found} == {"acme"}
    assert "globex" not in shown.text


def test_its_own_tenant_reads_it(secured: Secured, acme_session: dict[str, Any]) -> None:
    """By key and by token: what is refused to others is there."""
    for holder in ("acme", "jwt:acme"):
        for method, path, _ in ROUTES:
            if method != "GET" or "{id}" not in path or (method, path) in TO_ONE_S_OWN:
                continue
            answer = secured.ask(holder, method, path.replace("{id}", acme_session["session_id"]))
            assert answer.status_code == 200, (path, answer.text)
            assert acme_session["session_id"] in answer.text or MARKER in answer.text
            assert "acme/" not in answer.text


def test_same_idempotency_key_of_another_tenant_is_another_message(
    secured: Secured, served: Deployment, acme_session: dict[str, Any]
) -> None:
    """Nobody learns from a repeat what somebody else has sent."""
    path = f"/sessions/{acme_session['session_id']}/messages"
    for intruder in ("globex", "plain"):
        answer = secured.ask(intruder, "POST", path, json={"text": "fast"}, headers={"Idempotency-Key": "one"}).json()
        assert answer["turn_id"] != acme_session["turn_id"]
        served.wait(lambda turn=answer["turn_id"]: turn in served.log().outcomes, "it is answered by itself")


def test_completion_remembers_nothing_of_another_tenant(secured: Secured, acme_session: dict[str, Any]) -> None:
    """The session is named by header, by ``user`` and by ``metadata``; the model is shown one's own prompts alone."""
    name = acme_session["session_id"]
    ways: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({"X-Session-Id": name}, {}),
        ({}, {"user": name}),
        ({}, {"metadata": {"session_id": name}}),
        ({"X-Session-Id": name, "Idempotency-Key": "one"}, {}),
    ]
    own = BODIES["POST", "/v1/chat/completions"]
    for headers, fields in ways:
        answer = secured.ask("jwt:initech", "POST", "/v1/chat/completions", json={**own, **fields}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert MARKER not in answer.text
    named = {"X-Session-Id": f"acme/{name}"}
    for holder in ("plain", "jwt:initech"):
        refused = secured.ask(holder, "POST", "/v1/chat/completions", json=own, headers=named)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_session_id")


def test_another_tenant_cancels_and_erases_nothing(secured: Secured, served: Deployment) -> None:
    """What is accepted is for a session of its own; its orders are in Kafka before those of the owner."""
    session = _session_like("running", ["acme", "globex", None])
    remembered = secured.ask("acme", "POST", f"/sessions/{session}/messages", json={"text": f"fast {MARKER}"}).json()
    running = secured.ask("acme", "POST", f"/sessions/{session}/messages", json={"text": "hang on"}).json()
    served.wait(lambda: _calls(served, running["turn_id"]), "it runs")
    for intruder in ("globex", "plain"):
        for order in ({"turn_id": running["turn_id"]}, {"message_id": running["message_id"]}):
            theirs = {**order, "reason": "theirs"}
            assert secured.ask(intruder, "POST", f"/sessions/{session}/cancel", json=theirs).status_code == 202
        erased = secured.ask(intruder, "DELETE", f"/sessions/{session}").json()
        served.wait(lambda turn=erased["turn_id"]: turn in served.log().outcomes, "their own erasure is done")
    assert running["turn_id"] not in served.log().outcomes
    secured.ask("acme", "POST", f"/sessions/{session}/cancel", json={"turn_id": running["turn_id"], "reason": "mine"})
    served.wait(lambda: running["turn_id"] in served.log().outcomes, "its owner's cancel ends it")
    assert served.log().outcomes[running["turn_id"]].event.reason == "mine"
    asked = secured.ask("acme", "POST", f"/sessions/{session}/messages", json={"text": "fast again"}).json()
    served.wait(lambda: asked["turn_id"] in served.log().outcomes, "the session goes on")
    assert remembered["turn_id"] in served.log().outcomes
    (call,) = _calls(served, asked["turn_id"])
    assert MARKER in str(call.messages)


def _calls(served: Deployment, turn_id: str) -> list[ScriptedCall]:
    return [call for call in served.calls() if call.turn_id == turn_id]


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


@pytest.mark.parametrize("after", ["beginning", "cursor", "header"])
def test_stream_shows_nothing_of_another_tenant(
    secured: Secured, served: Deployment, acme_session: dict[str, Any], after: str
) -> None:
    """With the owner's cursor, from the beginning, while the owner's answer is made: until one's own answer ends."""
    session = acme_session["session_id"]
    headers = {"Last-Event-ID": acme_session["cursor"]} if after == "header" else {}
    place = {"beginning": "beginning", "cursor": acme_session["cursor"]}.get(after)
    with secured.http.stream(
        "GET",
        f"/sessions/{session}/stream",
        params={"after": place} if place else {},
        headers={**secured.headers("globex"), **headers},
    ) as stream:
        assert stream.status_code == 200
        theirs = secured.ask("acme", "POST", f"/sessions/{session}/messages", json={"text": f"fast {MARKER}"}).json()
        served.wait(lambda: theirs["turn_id"] in served.log().outcomes, "the owner has its answer")
        own = secured.ask("globex", "POST", f"/sessions/{session}/messages", json={"text": "fast own"}).json()
        for event in _events(stream.iter_lines()):
            assert MARKER not in json.dumps(event)
            assert event["turn_id"] not in {theirs["turn_id"], acme_session["turn_id"]}
            if event["turn_id"] == own["turn_id"] and event["kind"] == "completed":
                break


async def test_websocket_shows_and_does_nothing_to_another_tenant(
    secured: Secured, served: Deployment, acme_session: dict[str, Any]
) -> None:
    """Its events, and orders over it; the key comes as a browser's does."""
    session = acme_session["session_id"]
    key = secured.keys["globex"].key
    path = f"/sessions/{session}/ws?after={acme_session['cursor']}"
    async with secured.connect(path, None, subprotocols=["barnabas.v1", f"bearer.{key}"]) as websocket:
        assert websocket.subprotocol == "barnabas.v1"
        assert websocket.response is not None
        secured.look_at(str(websocket.response.headers))
        theirs = (
            await asyncio.to_thread(
                secured.ask, "acme", "POST", f"/sessions/{session}/messages", json={"text": f"fast {MARKER}"}
            )
        ).json()
        await asyncio.to_thread(served.wait, lambda: theirs["turn_id"] in served.log().outcomes, "the owner's answer")
        await websocket.send(json.dumps({"type": "cancel", "turn_id": acme_session["turn_id"]}))
        await websocket.send(json.dumps({"type": "message", "text": "fast own", "message_id": "one-over-ws"}))
        said: list[str] = []
        while not said or '"completed"' not in said[-1]:
            said.append(str(await asyncio.wait_for(websocket.recv(), ANSWER_S)))
    secured.look_at("".join(said))
    for text in (MARKER, theirs["turn_id"], f'"turn_id":"{acme_session["turn_id"]}","attempt"'):
        assert text not in "".join(said)


async def test_websocket_of_a_reader_takes_no_orders(secured: Secured) -> None:
    """Reading is a scope of its own, over it too."""
    async with secured.connect(_filled("/sessions/{id}/ws"), "without-sessions-write") as websocket:
        await websocket.send(json.dumps({"type": "message", "text": "fast"}))
        said = ""
        while '"problem"' not in said:
            said = str(await asyncio.wait_for(websocket.recv(), ANSWER_S))
        assert "forbidden" in said


async def test_page_of_another_site_gets_no_websocket(secured: Secured) -> None:
    """With the key of somebody, too."""
    with pytest.raises(InvalidStatus) as refused:
        await secured.connect(_filled("/sessions/{id}/ws"), "acme", origin="https://evil.example")
    assert refused.value.response.status_code == 403


def test_streams_of_one_principal_are_bounded(secured: Secured) -> None:
    """The fourth of three is refused, nobody else's; one that is closed makes room."""
    headers = secured.headers("without-operate")
    opened = []
    for _ in range(3):
        request = secured.http.build_request("GET", "/sessions/many/stream", headers=headers)
        opened.append(secured.http.send(request, stream=True))
    assert [stream.status_code for stream in opened] == [200] * 3
    refused = secured.ask("without-operate", "GET", "/sessions/many/stream")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    other = secured.http.build_request("GET", "/sessions/many/stream", headers=secured.headers("globex"))
    opened.append(secured.http.send(other, stream=True))
    assert opened[-1].status_code == 200
    for stream in opened:
        stream.close()
    deadline = time.monotonic() + CONDITION_S
    again = secured.http.build_request("GET", "/sessions/many/stream", headers=headers)
    while True:  # the gateway sees at its next step that they have gone
        stream = secured.http.send(again, stream=True)
        stream.close()
        if stream.status_code == 200:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("is_chunked", [True, False])
def test_too_large_a_body_is_refused(secured: Secured, *, is_chunked: bool) -> None:
    """Over the wire, where the client is still sending."""
    body = b'{"text": "%b"}' % (b"x" * 3_000_000)
    content: Any = iter([body[start:][:100_000] for start in range(0, len(body), 100_000)]) if is_chunked else body
    json_type = {"Content-Type": "application/json"}
    answer = secured.ask("acme", "POST", "/sessions/large/messages", content=content, headers=json_type)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_too_large_a_head_is_refused(secured: Secured) -> None:
    """Before anything of it is looked at."""
    assert secured.ask("acme", "GET", "/healthz", headers={"X-Large": "x" * 40_000}).status_code == 431


def test_token_that_has_ended_is_refused(secured: Secured) -> None:
    """And one for somebody else."""
    tokens = [_token("acme", exp=time.time() - 60), _token("acme", aud="another"), _token(None)]
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        assert secured.ask(None, "GET", "/v1/models", headers=headers).status_code == 401


def test_every_response_has_the_security_headers(secured: Secured) -> None:
    """Good or bad; nothing says which server it is."""
    for path in ("/healthz", "/v1/models", "/nothing"):
        answer = secured.ask("acme", "GET", path)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "server" not in answer.headers


def test_unasked_proxy_is_not_believed(secured: Secured) -> None:
    """Anybody can send ``X-Forwarded-For``: the log names the address that asked."""
    headers = {"Authorization": f"Bearer {new_key().key}", "X-Forwarded-For": "6.6.6.6"}
    assert secured.ask(None, "GET", "/v1/models", headers=headers).status_code == 401
    log = _log(secured)
    assert "credentials refused" in log
    assert "6.6.6.6" not in log


def test_log_has_no_key(secured: Secured, acme_session: dict[str, Any]) -> None:
    """After all of the above, at debug: keys, also those in a URL, tokens, and what was tried instead of one."""
    misplaced = secured.keys["acme"].key
    assert secured.ask(None, "GET", f"/sessions/x?access_token={misplaced}").status_code == 401
    secured.ask("acme", "POST", "/sessions/x/messages", content=misplaced, headers={"Content-Type": "application/json"})
    log = _log(secured)
    assert "credentials refused" in log
    for secret in (*secured.secrets, _token("acme").partition(".")[0]):
        assert secret not in log


def _filled(path: str) -> str:
    for name, value in {"{id}": "s", "{model}": "assistant"}.items():
        path = path.replace(name, value)
    return path.partition("{")[0] + ("x" if "{" in path else "")


def _log(secured: Secured) -> str:
    return Path(secured.process.log).read_text()
