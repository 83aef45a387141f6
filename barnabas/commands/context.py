"""What commands share: the global options, the settings, and how things are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from barnabas.settings import Settings

#: Global options, set by the command line before a command runs.
config: str | None = None
debug: bool = False

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", help="This session alone.")]
TenantOption = Annotated[str | None, typer.Option(help="The session's tenant.")]


def settings() -> Settings:
    """Return the settings; raises ``SettingsError``."""
    from barnabas.configuration import load_settings

    return load_settings(Path(config) if config else None)


def bootstrap_servers(found: Settings) -> str:
    """Return the address of Kafka: the one that is set, or the embedded broker's that runs.

    Raises:
        BrokerError: There is neither.
    """
    from infra.bootstrap import resolve_bootstrap_servers
    from schemas.errors import BrokerError

    servers = resolve_bootstrap_servers(found.broker_dir, configured=found.bootstrap_servers, environ={})
    if servers is None:
        raise BrokerError(
            f"no Kafka: bootstrap_servers is not set and no broker runs in {found.broker_dir}; "
            "set KAFKA_BOOTSTRAP_SERVERS, or run: barnabas broker start"
        )
    return servers


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one line of JSON, at once."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print a line for people, beside what the command puts out."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
