"""An issuer's keys: fetched once for all, kept, rotated; an endpoint that is away is said to be."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from barnabas.gateway.security.jwks import COOLDOWN_S, Jwks
from barnabas.gateway.security.options import JwtOptions
from schemas.errors import KeysUnavailableError, UnauthenticatedError


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Issuer:
    """Publishes keys, or does not."""

    def __init__(self) -> None:
        self.kids = ["one"]
        self.asked = 0
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.publish
        self.gate = asyncio.Event()
        self.gate.set()
        self.was_asked = asyncio.Event()
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.was_asked.set()
        await self.gate.wait()
        return await self.answer(request)

    async def publish(self, _request: web.Request) -> web.StreamResponse:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        entry = jwt.get_algorithm_by_name("ES256").to_jwk(key, as_dict=True)
        return web.json_response({"keys": [{**entry, "kid": kid} for kid in self.kids]})

    async def fail(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    def options(self, **more: float) -> JwtOptions:
        patient = {"timeout_s": 60.0, **more}
        return JwtOptions(issuer="i", audience="a", jwks_url=f"http://127.0.0.1:{self.port}/jwks", **patient)  # type: ignore[arg-type]


@pytest.fixture
async def issuer() -> AsyncIterator[_Issuer]:
    """Give an issuer."""
    made = _Issuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    made.gate.set()
    await runner.cleanup()


async def test_all_wait_for_one_fetch(issuer: _Issuer) -> None:
    """Which goes on though one of them gives up."""
    issuer.gate.clear()
    keys = Jwks(issuer.options())
    asking = [asyncio.create_task(keys.key("one")) for _ in range(50)]
    await issuer.was_asked.wait()
    asking[0].cancel()
    issuer.gate.set()
    found = await asyncio.gather(*asking[1:])
    assert {key.key_id for key in found} == {"one"}
    assert issuer.asked == 1


async def test_new_key_is_found_and_invented_ones_fetch_nothing(issuer: _Issuer) -> None:
    """An unknown id is a reason to look, but not each time; fails without the cooldown."""
    clock = _Clock()
    keys = Jwks(issuer.options(), now=clock)
    await keys.key("one")
    issuer.kids = ["two"]
    clock.now += COOLDOWN_S
    assert (await keys.key("two")).key_id == "two"
    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            await keys.key(f"invented-{number}")
    assert issuer.asked == 2
    with pytest.raises(UnauthenticatedError):  # revoked: it is no longer published
        await keys.key("one")


async def test_known_keys_are_good_while_the_issuer_is_away_for_so_long(issuer: _Issuer) -> None:
    """They are fetched beside the requests; too old ones are no longer used, and nobody waits for each failure."""
    clock = _Clock()
    keys = Jwks(issuer.options(refresh_s=60.0, stale_s=600.0), now=clock)
    await keys.key("one")
    issuer.answer = issuer.fail
    clock.now += 300
    assert (await keys.key("one")).key_id == "one"
    with pytest.raises(KeysUnavailableError):
        await keys.key("two")
    clock.now += 301
    for _ in range(5):
        with pytest.raises(KeysUnavailableError) as away:
            await keys.key("one")
        assert away.value.retry_after == COOLDOWN_S
    assert issuer.asked == 3
    issuer.answer = issuer.publish
    clock.now += COOLDOWN_S
    assert (await keys.key("one")).key_id == "one"


async def test_old_keys_are_fetched_again_beside_the_requests(issuer: _Issuer) -> None:
    """A request with a known key waits for nobody."""
    clock = _Clock()
    keys = Jwks(issuer.options(refresh_s=60.0), now=clock)
    await keys.key("one")
    issuer.gate.clear()
    issuer.kids = ["two"]
    clock.now += 61
    assert (await keys.key("one")).key_id == "one"
    issuer.gate.set()
    assert (await keys.key("two")).key_id == "two"
    assert issuer.asked == 2
    await keys.aclose()


async def test_issuer_that_drips_is_given_up(issuer: _Issuer) -> None:
    """The time-out is that of the whole answer, not of a byte."""
    is_over = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while not is_over.is_set():
                await response.write(b" ")
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        return response

    issuer.answer = drip
    keys = Jwks(issuer.options(timeout_s=0.2))
    with pytest.raises(KeysUnavailableError):
        await keys.key("one")
    is_over.set()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": 7}', b'{"keys": [7, {}]}', b'{"keys": []}', b" " * 2_000_000]
)
async def test_no_key_set_is_no_answer(issuer: _Issuer, body: bytes) -> None:
    """Nor is one without an end."""

    async def nonsense(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    issuer.answer = nonsense
    with pytest.raises(KeysUnavailableError):
        await Jwks(issuer.options()).key("one")


async def test_redirects_are_not_followed(issuer: _Issuer) -> None:
    """The address was checked; where it points was not."""

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        if request.path == "/jwks":
            raise web.HTTPFound("/elsewhere")
        return await issuer.publish(request)

    issuer.answer = elsewhere
    with pytest.raises(KeysUnavailableError):
        await Jwks(issuer.options()).key("one")


async def test_address_without_a_server_is_said_to_be_away() -> None:
    """Refused connections as well."""
    options = JwtOptions(issuer="i", audience="a", jwks_url="http://127.0.0.1:1/jwks")
    with pytest.raises(KeysUnavailableError):
        await Jwks(options).key("one")


def test_only_public_keys_for_signatures_are_taken() -> None:
    """A symmetric or a private one, published by mistake, signs for everybody; another one is for encryption."""
    from barnabas.gateway.security.jwks import _parse

    algorithm = jwt.get_algorithm_by_name("ES256")
    private = ec.generate_private_key(ec.SECP256R1())
    public = algorithm.to_jwk(private.public_key(), as_dict=True)
    for entry in (
        algorithm.to_jwk(private, as_dict=True),
        {"kty": "oct", "alg": "HS256", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
        {**public, "use": "enc"},
    ):
        with pytest.raises(ValueError, match="no public key"):
            _parse(json.dumps({"keys": [{**entry, "kid": "one"}]}).encode())
        assert [*_parse(json.dumps({"keys": [{**entry, "kid": "one"}, {**public, "kid": "two"}]}).encode())] == ["two"]
