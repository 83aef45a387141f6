"""``barnabas broker``: the embedded Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

if TYPE_CHECKING:
    from infra.broker import Broker
    from infra.broker_state import BrokerState

app = typer.Typer(
    help="Start, stop or look at the embedded Kafka broker.\n\nExample: barnabas broker start --port 19092",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def start(
    port: Annotated[int | None, typer.Option(help="Where clients connect; the last one, 9092 or a free one.")] = None,
    *,
    secure: Annotated[
        bool, typer.Option("--secure", help="TLS, SASL and ACLs, settled with the first start in a data directory.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the broker and leave it running.

    Example: barnabas broker start --port 19092
    """
    broker, data_dir = _broker(port, secure=secure)
    was_running = broker.status() is not None
    state = broker.start()
    settings = str(broker.security_files.admin_settings) if state.is_secured else None
    if as_json:
        context.print_json(
            {"event": "ready", "data_dir": data_dir, "was_running": was_running, **_fields(state), "config": settings}
        )
    else:
        typer.echo(f"Kafka {state.kafka_version} {'runs already' if was_running else 'is ready'}: {_line(state)}")
        if settings is not None:
            typer.echo(f"the administrator's settings: {settings}")


@app.command()
def stop(*, as_json: Json = False) -> None:
    """Stop the broker; its log stays.

    Example: barnabas broker stop
    """
    broker, data_dir = _broker()
    was_running = broker.stop()
    if as_json:
        context.print_json({"event": "stopped", "data_dir": data_dir, "was_running": was_running})
    else:
        typer.echo("the broker is stopped" if was_running else f"no broker runs in {data_dir}")


@app.command()
def status(*, as_json: Json = False) -> None:
    """Say whether the broker runs; exit code 1 where it does not.

    Example: barnabas broker status --json
    """
    broker, data_dir = _broker()
    state = broker.status()
    fields: dict[str, Any] = _fields(state) if state else {}
    if as_json:
        context.print_json({"event": "status", "is_running": state is not None, "data_dir": data_dir, **fields})
    else:
        typer.echo(f"Kafka {state.kafka_version} runs: {_line(state)}" if state else f"no broker runs in {data_dir}")
    if state is None:
        raise typer.Exit(1)


def _broker(port: int | None = None, *, secure: bool = False) -> tuple[Broker, str]:
    from infra.broker import Broker
    from infra.security import BrokerSecurity

    folder = context.settings().broker_dir
    return Broker(folder, port, security=BrokerSecurity() if secure else None), str(folder)


def _fields(state: BrokerState) -> dict[str, Any]:
    return {
        "bootstrap_servers": state.bootstrap_servers,
        "pid": state.pid,
        "kafka_version": state.kafka_version,
        "cluster_id": state.cluster_id,
    }


def _line(state: BrokerState) -> str:
    return f"{state.bootstrap_servers} (pid {state.pid}, data in {state.data_dir})"
