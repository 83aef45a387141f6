"""Memory of an idle event stream by what writes it: sse-starlette, Starlette's own response, and the gateway's.

``python -m benchmarks.idle_responses [--streams 2000]``. Each in a server process of its own: uvicorn as the gateway
sets it, a Starlette application with one route, no middleware, no Kafka. What counts is the difference between the
rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import psutil
import uvicorn
import uvloop
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from barnabas.gateway.connection_guard import GuardedHttpProtocol, forget_head
from barnabas.gateway.file_limit import raise_file_limit

_ROOT: Final = Path(__file__).resolve().parent.parent
_SETTLE_S: Final = 2.0
_WARM_UP: Final = 50


async def _silence() -> AsyncIterator[str]:
    """Give a first piece, then nothing more."""
    yield "retry: 1000\n\n"
    await asyncio.Event().wait()


class TwoTasks(Response):
    """The gateway's way: one task writes, one waits for the client to leave."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write a first piece, then nothing more."""
        leaving = asyncio.get_running_loop().create_task(_client_leaves(receive))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        forget_head(scope)
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        await asyncio.wait([leaving])


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sse_starlette(_request: Request) -> Response:
    return EventSourceResponse(_silence())


async def _starlette(_request: Request) -> Response:
    return StreamingResponse(_silence(), media_type="text/event-stream")


async def _ours(_request: Request) -> Response:
    return TwoTasks()


_WAYS: Final = {"sse-starlette": _sse_starlette, "starlette": _starlette, "gateway": _ours}


async def serve(way: str) -> None:
    """Serve until killed; prints the port."""
    raise_file_limit()
    app = Starlette(routes=[Route("/stream", _WAYS[way])])
    config = uvicorn.Config(app, loop="none", http=GuardedHttpProtocol, port=0, backlog=2048, log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


def measure(way: str, count: int) -> float:
    """Return the KiB that each of so many idle streams takes."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.idle_responses", "--serve", way],
        stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    )  # fmt: skip
    port = server.stdout.readline().strip() if server.stdout else ""
    clients = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stream_clients", "127.0.0.1", port],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    )  # fmt: skip

    def ask(**order: Any) -> None:
        if clients.stdin is not None and clients.stdout is not None:
            print(json.dumps(order), file=clients.stdin, flush=True)
            clients.stdout.readline()

    try:
        process = psutil.Process(server.pid)
        ask(open=_WARM_UP, first=0, path="/stream")
        ask(close=True)
        time.sleep(_SETTLE_S)
        empty = process.memory_info().rss
        ask(open=count, first=0, path="/stream")
        time.sleep(_SETTLE_S)
        return (process.memory_info().rss - empty) / 1024 / count
    finally:
        for one in (clients, server):
            one.kill()
            one.wait()


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--serve", choices=tuple(_WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve(args.serve))
        return
    for way in _WAYS:
        print(f"{way:14} {measure(way, args.streams):6.1f} KiB each", flush=True)


if __name__ == "__main__":
    main()
