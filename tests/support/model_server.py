"""A real model endpoint on loopback, OpenAI's and Anthropic's streams, for tests and benchmarks.

How a request is answered is its last user message's first word when that names a mode, else the
server's ``mode``. Run it by hand: ``python -m tests.support.model_server --port 0 --tokens 30``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from aiohttp import web

Mode = Literal[
    "normal",
    "slow_first",
    "stall",
    "disconnect",
    "rate_limited",
    "server_error",
    "flaky",
    "unauthorized",
    "bad_request",
    "error_event",
    "empty",
    "malformed",
    "truncated",
    "no_stream",
]
_MODES = frozenset(get_args(Mode))
_REFUSALS: dict[str, tuple[int, str, dict[str, str]]] = {
    "rate_limited": (429, "too many requests", {"Retry-After": "7"}),
    "server_error": (500, "internal error", {}),
    "unauthorized": (401, "incorrect API key provided: {authorization}", {}),
    "bad_request": (400, "no such model", {}),
}
STALL_AFTER = 2
"""Tokens sent before ``stall``, ``disconnect``, ``error_event`` and ``malformed`` do what they say."""


@dataclass(kw_only=True)
class ModelServer:
    """The server; ``bodies`` are the requests it got, ``left`` is set once a client went early.

    ``delay_s`` is waited before every token, ``end_delay_s`` between the last event and the body's end.
    """

    tokens: int = 5
    delay_s: float = 0.0
    end_delay_s: float = 0.0
    mode: Mode = "normal"
    keep_bodies: bool = True
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        """The base URL for Anthropic's API; OpenAI's is ``{url}/v1``."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ModelServer]:
        """Listen on ``port`` (0: a free one) until the block ends."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if self.mode in _REFUSALS:
            return self._refuse(self.mode, request)
        return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, OpenAIWire())

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, _AnthropicWire())

    async def _answer(self, request: web.Request, wire: OpenAIWire | _AnthropicWire) -> web.StreamResponse:
        body = await request.json()
        self.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        if self.keep_bodies:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
        mode = self._mode_of(body)
        if mode == "flaky":
            mode = "server_error" if len(self.bodies) < 3 else "normal"
        if mode in _REFUSALS:
            return self._refuse(mode, request)
        if mode == "no_stream":
            return web.json_response({"choices": []})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._stream(request, response, wire, mode)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, wire: OpenAIWire | _AnthropicWire, mode: Mode
    ) -> None:
        if mode == "slow_first":
            await self._hang()
        await response.write(wire.start())
        for index in range(0 if mode == "empty" else self.tokens):
            if index == STALL_AFTER and mode in {"stall", "disconnect", "error_event", "malformed"}:
                if mode == "stall":
                    await self._hang()
                if mode == "disconnect" and request.transport is not None:
                    request.transport.abort()
                    return
                await response.write(
                    wire.event({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}})
                    if mode == "error_event"
                    else b"data: {not json\n\n"
                )
                return
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await response.write(wire.token(index))
        if mode != "truncated":
            await response.write(wire.end(self.tokens))
        if self.end_delay_s:
            await asyncio.sleep(self.end_delay_s)
        await response.write_eof()

    async def _hang(self) -> None:
        self.stalled.set()
        await asyncio.get_running_loop().create_future()

    def _mode_of(self, body: dict[str, Any]) -> Mode:
        users = [message["content"] for message in body["messages"] if message["role"] == "user"]
        word = users[-1].split(" ", 1)[0] if users else ""
        return cast("Mode", word) if word in _MODES else self.mode

    def _refuse(self, mode: str, request: web.Request) -> web.Response:
        status, message, headers = _REFUSALS[mode]
        # Real endpoints quote what they were sent; the provider must not pass a key on.
        sent = request.headers.get("Authorization") or request.headers.get("x-api-key", "")
        error = {"error": {"message": message.format(authorization=sent), "type": mode}}
        return web.json_response(error, status=status, headers=headers)


class OpenAIWire:
    """OpenAI's server-sent events."""

    def event(self, value: object) -> bytes:
        """One event."""
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    def start(self) -> bytes:
        """What comes before the first token."""
        return b": a comment\n\n" + self._chunk({"role": "assistant", "content": ""}, None)

    def token(self, index: int) -> bytes:
        """One token."""
        return self._chunk({"content": f" t{index}" if index else "t0"}, None)

    def end(self, tokens: int) -> bytes:
        """What comes behind the last token."""
        usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": tokens + 7}
        return self._chunk({}, "stop") + self.event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self.event({"id": "c-1", "object": "chat.completion.chunk", "choices": [choice]})


class _AnthropicWire:
    def event(self, value: dict[str, Any]) -> bytes:
        return f"event: {value['type']}\r\ndata: {json.dumps(value)}\r\n\r\n".encode()

    def start(self) -> bytes:
        usage = {"input_tokens": 7, "output_tokens": 1}
        return (
            self.event({"type": "message_start", "message": {"id": "m-1", "usage": usage}})
            + self.event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
            + self.event({"type": "ping"})
        )

    def token(self, index: int) -> bytes:
        delta = {"type": "text_delta", "text": f" t{index}" if index else "t0"}
        return self.event({"type": "content_block_delta", "index": 0, "delta": delta})

    def end(self, tokens: int) -> bytes:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return (
            self.event({"type": "content_block_stop", "index": 0})
            + self.event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": tokens}})
            + self.event({"type": "message_stop"})
        )


async def _serve(server: ModelServer) -> None:
    async with server.running():
        print(json.dumps({"base_url": f"{server.url}/v1", "port": server.port}), flush=True)  # noqa: T201 -- its one output
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Serve until interrupted; one JSON line with the base URL when ready."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--tokens", type=int, default=30, help="tokens of an answer")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="wait before each token")
    options = parser.parse_args()
    server = ModelServer(
        port=options.port,
        tokens=options.tokens,
        delay_s=options.delay_ms / 1000,
        keep_bodies=False,
        left=asyncio.Event(),
    )
    try:
        asyncio.run(_serve(server))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
