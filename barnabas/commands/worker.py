"""``barnabas worker``: one worker in this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

if TYPE_CHECKING:
    from barnabas.settings import Settings
    from streams.worker import Worker

_RETRY_S = 1.0
_TRY_S = 10.0


def worker(
    name: Annotated[str, typer.Option(help="Its name and data folder; else the first free worker-N.")] = "",
    monitoring_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Over monitoring.port; 0 is a free one."),
    ] = None,
    reads_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Over reads.port; 0 is a free one."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C; topics that are missing are made first.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 BARNABAS_MODEL=echo barnabas worker --json
    """
    settings = context.settings()
    from barnabas.composition import build_agents, build_tracing, check_group_security, worker_options
    from barnabas.logs import configure_logging

    configure_logging(settings.log_level, debug=context.debug, form=settings.log_format)
    signal.signal(signal.SIGTERM, _exit)
    agents = build_agents(settings)
    servers = context.bootstrap_servers(settings)
    check_group_security(settings)
    _ensure_topics(settings, servers)
    from barnabas.metrics import REGISTRY
    from streams.monitoring.hard_exit import HardExit
    from streams.worker import Worker

    options = worker_options(settings, servers, name=name, monitoring_port=monitoring_port, reads_port=reads_port)

    def ready(running: Worker) -> None:
        if as_json:
            context.print_json(
                {
                    "event": "ready",
                    "worker": running.name,
                    "pid": os.getpid(),
                    "data_dir": str(settings.data_dir),
                    "bootstrap_servers": servers,
                    "metrics": running.monitor.metrics_url,
                    "reads": running.reads.url if running.reads is not None else None,
                }
            )
        else:
            context.say(f"worker {running.name} is ready: {servers}, topics {settings.prefix}.*, Ctrl-C ends it")

    async def run() -> int:
        try:
            running = Worker(options, agents, on_ready=ready, collectors=[REGISTRY])
            running.tracing = build_tracing(settings, worker=running.name)
            return await running.run()
        finally:  # asyncio and the interpreter wait for every task and thread
            HardExit().within(settings.watchdog.end_s, "the process did not end")

    sys.exit(_run(run))


def _run(main: Callable[[], Coroutine[None, None, int]]) -> int:
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _ensure_topics(settings: Settings, servers: str) -> None:
    """Wait for Kafka, and for its topics to be there.

    Raises:
        AccessError: Kafka refused credentials, certificate or right.
        TopicMismatchError: They do not fit this deployment.
    """
    import logging

    from barnabas.composition import topic_specs
    from schemas.errors import AccessError, BrokerError
    from topics.admin import ensure_topics

    while True:
        try:
            _interruptibly(
                lambda: ensure_topics(servers, topic_specs(settings), client_config=settings.kafka, timeout_s=_TRY_S)
            )
        except AccessError:  # again would not help
            raise
        except BrokerError as error:
            logging.getLogger(__name__).warning("%s Trying again.", error)
            threading.Event().wait(_RETRY_S)
        else:
            return


def _interruptibly(work: Callable[[], object]) -> None:
    """Run a blocking call of librdkafka, which hears no signals, so that a signal ends the process at once."""
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed on
            failure.append(error)
        done.set()

    threading.Thread(target=run, daemon=True).start()
    done.wait()
    if failure:
        raise failure[0]


def _exit(_signum: int, _frame: object) -> NoReturn:
    """End before the worker runs: there is nothing to finish."""
    os._exit(0)
