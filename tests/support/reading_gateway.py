"""A gateway in the test's own event loop, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabas.gateway.app import make_app
from barnabas.gateway.options import GatewayOptions
from barnabas.gateway.security.api_key import new_key
from barnabas.gateway.security.options import ApiKeyOptions, SecurityOptions
from barnabas.settings import Settings
from tests.support.deployment import Deployment
from tests.support.patience import ANSWER_S, CONDITION_S, be_patient


class Api:
    """A client that expects what it is told to."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Return the JSON of an answer with this status."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == status, f"{path} {query}: {answer.status_code} {answer.text}"
        return answer.json()

    async def from_owners(self, path: str, **query: Any) -> Any:
        """Return the first answer that comes from owners alone.

        Those that come from the log before it are no fault: a worker that stalls is passed over.
        """
        async with asyncio.timeout(CONDITION_S):
            while True:
                answer = await self.get(path, **query)
                freshness = answer["freshness"]
                parts = freshness if isinstance(freshness, list) else [freshness]
                if {part["source"] for part in parts} == {"owner"}:
                    return answer
                await asyncio.sleep(0.05)

    async def pages(self, path: str, name: str, following: str = "next_cursor", **query: Any) -> list[Any]:
        """Return the items of all pages."""
        found: list[Any] = []
        while True:
            page = await self.get(path, **query)
            assert len(page[name]) <= query["limit"]
            found += page[name]
            if page[following] is None or (following == "next_cursor" and not page["has_more"]):
                return found
            query["cursor"] = page[following]


@asynccontextmanager
async def opened(
    deployment: Deployment,
    folder: Path,
    *,
    scopes: tuple[str, ...] | None = None,
    tenant: str | None = None,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Open a gateway over a deployment; with ``scopes`` it asks for a key, and the client has one with them."""
    headers = {}
    if scopes is not None:
        key = new_key("reader")
        options = ApiKeyOptions(hash=key.hash, scopes=scopes, tenant=tenant)
        settings["gateway"] = GatewayOptions(security=SecurityOptions(api_keys={key.id: options}))
        headers = {"Authorization": f"Bearer {key.key}"}
    app = make_app(
        Settings(
            bootstrap_servers=deployment.bootstrap_servers,
            prefix=deployment.names.prefix,
            partitions=deployment.partitions,
            data_dir=folder,
            model="scripted",
            **settings,
        )
    )
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers, timeout=ANSWER_S)
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch.setattr)
        async with app.router.lifespan_context(app), client as http:
            yield Api(http)
