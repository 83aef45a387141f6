"""``barnabas topics`` and ``barnabas version``."""

from __future__ import annotations

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

_SHOWN_WITH = ("faust-streaming", "aiokafka", "confluent-kafka", "rocksdict")


def topics(*, as_json: Json = False) -> None:
    """Make the deployment's topics where they are missing, verify them, and show them.

    Example: barnabas topics
    """
    from barnabas.composition import topic_specs
    from topics.admin import ensure_topics

    settings = context.settings()
    specs = topic_specs(settings)
    states = ensure_topics(context.bootstrap_servers(settings), specs, client_config=settings.kafka)
    for spec, state in zip(specs, states, strict=True):
        if as_json:
            fields = {"name": state.name, "value": spec.value, "key": spec.key, "partitions": state.partitions}
            more = {"was_created": state.was_created, "cleanup_policy": spec.cleanup_policy}
            context.print_json({**fields, **more, "differences": dict(state.differences)})
        else:
            made = "made now" if state.was_created else "there"
            typer.echo(f"{state.name:<32} {state.partitions:>4} partitions  {spec.cleanup_policy:<8} {made}")
            for name, (wanted, found) in state.differences.items():
                typer.echo(f"  {name} is {found}, not {wanted}")


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
