"""``barnabas version``."""

from __future__ import annotations

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

_SHOWN_WITH = ("faust-streaming", "aiokafka", "confluent-kafka", "rocksdict")


def version(*, as_json: Json = False) -> None:
    """Show the version.

    Example: barnabas version --json
    """
    found = _version("barnabas")
    parts = {name: _version(name) for name in _SHOWN_WITH}
    if as_json:
        context.print_json({"barnabas": found, **parts})
    else:
        typer.echo(f"barnabas {found} ({', '.join(f'{name} {number}' for name, number in parts.items())})")


def _version(name: str) -> str:
    from importlib import metadata  # 20 ms of the command line's start

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
