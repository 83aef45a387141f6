"""Orders over a WebSocket, from the guard to the client that would publish them; no Kafka, no server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from starlette.types import Message

from barnabas.cursor import Cursor
from barnabas.fanout import Subscription
from barnabas.gateway.app import make_app
from barnabas.gateway.gateway import Gateway
from barnabas.gateway.options import GatewayOptions
from barnabas.gateway.security.options import SecurityOptions
from barnabas.settings import Settings
from tests.unit.barnabas.test_fanout import Topic


class PublishingClient:
    """Counts what would be published."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self.cancelled = 0

    async def subscribe(self, session_id: str, **_options: Any) -> Subscription:
        """As :meth:`Client.subscribe`."""
        return await self._topic.fanout.subscribe(session_id.encode(), Cursor(0, -1))

    async def cancel(self, _session_id: str, **_options: Any) -> None:
        """As :meth:`Client.cancel`."""
        self.cancelled += 1


class Talk:
    """A WebSocket to the whole application."""

    def __init__(self, client: PublishingClient, folder: Path, *, host: str = "0.0.0.0", **security: Any) -> None:
        options = GatewayOptions(host=host, security=SecurityOptions(allow_anonymous=True, **security))
        settings = Settings(data_dir=folder, gateway=options)
        gateway = Gateway(settings)
        gateway.client = client  # type: ignore[assignment]
        self._app = make_app(settings, gateway=gateway)
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        scope = {
            "type": "websocket",
            "path": "/sessions/ada/ws",
            "raw_path": b"/sessions/ada/ws",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("10.0.0.1", 1),
            "subprotocols": [],
            "extensions": {},
        }
        self._said.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._app(scope, self._said.get, self._told.put))
        assert (await self._told.get())["type"] == "websocket.accept"
        assert await self.told() == {"type": "open", "cursor": "0:-1:-1"}
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        assert self._task is not None
        await asyncio.wait_for(self._task, 60)

    async def say(self, text: str) -> dict[str, Any]:
        """Say something, and return the answer."""
        self._said.put_nowait({"type": "websocket.receive", "text": text})
        return await self.told()

    async def told(self) -> dict[str, Any]:
        """Return what comes next."""
        told: dict[str, Any] = json.loads((await asyncio.wait_for(self._told.get(), 60))["text"])
        return told


@pytest.fixture
async def topic() -> AsyncIterator[Topic]:
    """Give an empty partition."""
    made = Topic()
    yield made
    await made.fanout.close()


async def test_order_counts_as_a_request(topic: Topic, tmp_path: Path) -> None:
    """Of its caller, a senseless one as well, over however many sockets; nothing is published, the socket goes on.

    Fails where the handshake alone is counted.
    """
    client, cancel = PublishingClient(topic), json.dumps({"type": "cancel", "message_id": "m"})
    async with Talk(client, tmp_path, requests_per_s=0.001, burst=4) as talk:  # the handshake was the first
        assert (await talk.say(cancel))["type"] == "cancelling"
        assert (await talk.say("{"))["code"] == "malformed_json"
        assert (await talk.say(cancel))["type"] == "cancelling"
        for _ in range(3):
            refused = await talk.say(cancel)
            assert (refused["type"], refused["status"], refused["code"]) == ("problem", 429, "rate_limited")
    assert client.cancelled == 2


async def test_order_on_one_s_own_machine_is_not_counted(topic: Topic, tmp_path: Path) -> None:
    """Nobody is kept from it."""
    client, cancel = PublishingClient(topic), json.dumps({"type": "cancel", "message_id": "m"})
    async with Talk(client, tmp_path, host="127.0.0.1", requests_per_s=0.001, burst=1) as talk:
        for _ in range(5):
            assert (await talk.say(cancel))["type"] == "cancelling"
