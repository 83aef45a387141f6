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

#: Exit codes after an error: of most commands, and of those whose 1 is an answer.
FAILED, NOT_CHECKED = 1, 3

#: The exit code that an error of the running command has.
failure_code: int = FAILED

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", help="This session alone.")]
TenantOption = Annotated[str | None, typer.Option(help="The session's tenant.")]


def settings() -> Settings:
    """Return the settings; raises ``SettingsError``."""
    from barnabas.configuration import load_settings

    return load_settings(Path(config) if config else None)


def bootstrap_servers(found: Settings) -> str:
    """Return the address of Kafka; raises ``BrokerError``."""
    from barnabas.configuration import bootstrap_servers_of

    return bootstrap_servers_of(found)


def is_confirmed(question: str, *, yes: bool) -> bool:
    """Ask, on stderr, before something is lost; ``yes`` answers for whoever cannot be asked.

    Raises:
        SettingsError: There is no terminal to ask at.
    """
    from schemas.errors import SettingsError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError(f"{question} Nobody can answer here; say --yes")
    return typer.confirm(question, err=True)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one line of JSON, at once."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Print a line for people, beside what the command puts out."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
