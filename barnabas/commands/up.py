"""``barnabas up``: everything, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

if TYPE_CHECKING:
    from barnabas.deployment import Deployment

_WATCH_S = 0.2


class Stopped(BaseException):
    """SIGTERM or Ctrl-C came; not an error."""


def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes.")] = 1,
    *,
    as_json: Json = False,
) -> None:
    """Run broker, topics, workers and gateway until Ctrl-C; a worker or gateway that fails is started again.

    Example: barnabas up --workers 2
    """
    settings = context.settings()
    from barnabas.deployment import Deployment

    catch_signals()
    arguments = (*(("--config", context.config) if context.config else ()), *(("--debug",) if context.debug else ()))
    with_gateway = settings.gateway.enabled
    deployment = Deployment(settings, workers=workers, with_gateway=with_gateway, say=context.say, arguments=arguments)
    try:
        deployment.start()
        _announce(deployment, str(settings.data_dir), as_json=as_json)
        while not deployment.is_idle:
            time.sleep(_WATCH_S)
            deployment.watch()
        context.say("no worker is left")
    except Stopped:
        context.say("stopping: turns that run are finished first")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        deployment.stop()


def catch_signals() -> None:
    """Have SIGTERM and Ctrl-C raise :class:`Stopped`, wherever the program is."""

    def stop(_signum: int, _frame: object) -> NoReturn:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _announce(deployment: Deployment, data_dir: str, *, as_json: bool) -> None:
    if as_json:
        fields = {
            "bootstrap_servers": deployment.bootstrap_servers,
            "gateway": deployment.gateway,
            "metrics": deployment.metrics,
        }
        context.print_json({"event": "ready", **fields, "data_dir": data_dir, "pids": deployment.pids})
        return
    console = f"  console  {deployment.gateway}/\n" if deployment.gateway else ""
    sys.stdout.write(
        f"Barnabas is up.\n{console}  Kafka    {deployment.bootstrap_servers}\n  data     {data_dir}\n"
        f"  metrics  {' '.join(deployment.metrics) or 'off'}\n"
        f'  try      KAFKA_BOOTSTRAP_SERVERS={deployment.bootstrap_servers} barnabas send ada "Hello"\n'
        "Ctrl-C stops it.\n"
    )
    sys.stdout.flush()
