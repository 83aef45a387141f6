"""``barnabas config show|check``: the settings in force, and whether they can be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json

app = typer.Typer(
    help="Show the settings in force and where each comes from, or check them.\n\nExample: barnabas config check",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def show(
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False,
    as_json: Json = False,
) -> None:
    """Print every setting with its value and where it comes from; secrets are masked.

    Example: barnabas config show --changed
    """
    from barnabas.configuration import effective_settings

    _, found = effective_settings(_file())
    kept = [setting for setting in found if not changed or setting.origin != "default"]
    if as_json:
        for setting in kept:
            context.print_json(setting._asdict())
        return
    width = max((len(setting.field) for setting in kept), default=0)
    for setting in kept:
        origin = "" if setting.origin == "default" else f"  # {setting.origin}"
        sys.stdout.write(f"{setting.field:<{width}}  {json.dumps(setting.value)}{origin}\n")


@app.command()
def check(*, as_json: Json = False) -> None:
    """Read the settings as workers and gateway do, models and tools included; exit code 1 with the place of a mistake.

    Example: barnabas config check --config production.yaml
    """
    from barnabas.composition import build_agents, check_group_security
    from barnabas.configuration import effective_settings
    from barnabas.gateway.security.exposure import check_certificate, check_exposure, warnings_of

    path, found = effective_settings(_file())
    settings = context.settings()
    build_agents(settings)
    warnings: list[str] = []
    if settings.gateway.enabled:
        check_exposure(settings)
        check_certificate(settings)
        warnings += warnings_of(settings)
    for warning in warnings:
        context.say(f"warning: {warning}")
    check_group_security(settings)
    changed = sum(setting.origin != "default" for setting in found)
    if as_json:
        context.print_json(
            {"event": "ok", "file": str(path) if path else None, "settings": changed, "warnings": warnings}
        )
        return
    sys.stdout.write(f"ok: {changed} settings from {path or 'the environment'}, the rest are defaults\n")


def _file() -> Path | None:
    return Path(context.config) if context.config else None
