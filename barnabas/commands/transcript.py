"""``barnabas transcript``: a session's conversation, whole."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption
from barnabas.commands.progress import progress


class Format(StrEnum):
    """What is printed."""

    MD = "md"
    JSON = "json"


def transcript(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    tenant: TenantOption = None,
    form: Annotated[Format, typer.Option("--format", help="Markdown or JSON.")] = Format.MD,
    *,
    as_json: Json = False,
) -> None:
    """Print a session's conversation as its log tells it, every turn that counts.

    Example: barnabas transcript ada --format md
    """
    from barnabas.client import SyncClient

    with progress("reading", is_shown=not as_json) as bar, SyncClient(context.settings(), on_progress=bar) as client:
        text = client.transcript(session, "json" if as_json else form.value, tenant=tenant)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
