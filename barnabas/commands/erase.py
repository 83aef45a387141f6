"""``barnabas erase``: have a session forget."""

from __future__ import annotations

from typing import Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption


def erase(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    reason: Annotated[str | None, typer.Option(help="Kept in the log.")] = None,
    tenant: TenantOption = None,
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until it is done.")] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Empty a session's memory, in order with its messages. What the log holds stays until its retention ends.

    Example: barnabas erase ada --yes
    """
    from barnabas.client import SyncClient

    if not context.is_confirmed(f"Erase the memory of session {session}?", yes=yes):
        raise typer.Exit(1)
    with SyncClient(context.settings()) as client:
        sent = client.erase(session, tenant=tenant, reason=reason)
        client.answer(sent, timeout=timeout)
    if as_json:
        context.print_json({"event": "erased", "session_id": sent.session_id, "message_id": sent.message_id})
    else:
        typer.echo(f"{sent.session_id}: erased")
