"""``barnabas gateway``: the HTTP gateway in this process."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json


def gateway(
    host: Annotated[str | None, typer.Option(help="Over gateway.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Over gateway.port; 0 is a free one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Serve HTTP until SIGTERM or Ctrl-C: the OpenAI-compatible interface, sessions, streams and the console.

    Any number of gateways may run for one deployment; the topics have to be there, which the first worker makes.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 barnabas gateway --port 8080 --json
    """
    settings = context.settings()
    from dataclasses import replace

    from barnabas.logs import configure_logging

    configure_logging(settings.log_level, debug=context.debug, form=settings.log_format)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"gateway": replace(settings.gateway, **given)})  # type: ignore[arg-type]
    import asyncio

    import uvloop

    from barnabas.gateway.server import GatewayServer

    def ready(url: str) -> None:
        if as_json:
            fields = {"gateway": url, "pid": os.getpid(), "bootstrap_servers": server.gateway.servers}
            context.print_json({"event": "ready", **fields})
        else:
            context.say(f"the gateway is ready: {url}/, Kafka at {server.gateway.servers}, Ctrl-C ends it")

    server = GatewayServer(settings, on_ready=ready)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run())
