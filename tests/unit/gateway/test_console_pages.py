"""How the console is served: the page anew, its assets for ever, both under a policy that allows nothing inline."""

import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from barnabas.gateway.console import routes
from barnabas.gateway.console.bundle import DIST, read_manifest


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an application that has these routes alone."""
    transport = httpx.ASGITransport(app=Starlette(routes=routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_page_is_asked_for_anew_and_not_sent_twice(http: httpx.AsyncClient) -> None:
    """A new version shows at once; an unchanged one costs a few bytes."""
    page = await http.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    assert page.content == (DIST / "index.html").read_bytes()
    again = await http.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert (await http.get("/", headers={"If-None-Match": '"another"'})).status_code == 200


@pytest.mark.parametrize("name", ["console.js", "console.css", "icon.svg", "licences.txt"])
async def test_assets_are_kept_for_ever(http: httpx.AsyncClient, name: str) -> None:
    """Under a name that stands for their content, and with a media type that browsers take."""
    file = read_manifest().assets[name]
    asset = await http.get(f"/assets/{file}")
    assert asset.status_code == 200
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.content == (DIST / "assets" / file).read_bytes()
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
    assert asset.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
    assert asset.headers["x-content-type-options"] == "nosniff"


async def test_assets_are_packed_for_whoever_takes_it(http: httpx.AsyncClient) -> None:
    """And for nobody else; the two have tags of their own."""
    path = f"/assets/{read_manifest().assets['console.js']}"
    plain = await http.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    refused = await http.get(path, headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in refused.headers
    async with http.stream("GET", path, headers={"Accept-Encoding": "br, gzip"}) as packed:
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2
    assert {plain.headers["vary"], packed.headers["vary"]} == {"Accept-Encoding"}
    assert plain.headers["etag"] != packed.headers["etag"]


async def test_policy_allows_nothing_inline_and_nobody_else(http: httpx.AsyncClient) -> None:
    """On the page and on every asset; markup needs the cleaning library."""
    for path in ("/", f"/assets/{read_manifest().assets['icon.svg']}"):
        policy = (await http.get(path)).headers["content-security-policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["base-uri"] == rules["object-src"] == "'none'"
        assert rules["require-trusted-types-for"] == "'script'"
        assert not re.search(r"unsafe|https?:|\*|data:", policy)


@pytest.mark.parametrize("name", ["nothing.js", "..%2Findex.html", "%2e%2e%2fmanifest.json", "console.js"])
async def test_nothing_else_is_served(http: httpx.AsyncClient, name: str) -> None:
    """Names are looked up, never joined to a path."""
    assert (await http.get(f"/assets/{name}")).status_code == 404
