"""``barnabas sessions``: which there are, and what one is, was and became."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from barnabas.commands import context
from barnabas.commands.context import Json, TenantOption
from barnabas.commands.progress import progress

if TYPE_CHECKING:
    from schemas.session import MemoryEntry, Session

app = typer.Typer(
    help="Look at sessions, as they are and as they were.\n\nExample: barnabas sessions list --limit 10",
    no_args_is_help=True,
)

SessionArgument = Annotated[str, typer.Argument(help="The session's id.")]
_AGO: Final = re.compile(r"-\d[\d.]*[smhd]")
_PLACE = "an offset of the log, a time such as 2026-11-21T13:00:00Z, or how long ago, such as -15m"


class MomentsCommand(TyperCommand):
    """A command whose arguments may be times ago, such as ``-15m``: no option begins with a digit."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Have such words taken for arguments; who reads them strips them."""
        end = args.index("--") if "--" in args else len(args)
        words = [f" {word}" if _AGO.fullmatch(word) else word for word in args[:end]]
        return super().parse_args(ctx, [*words, *args[end:]])


@app.command("list", short_help="Show the sessions that changed last.")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    *,
    as_json: Json = False,
) -> None:
    """Show the sessions that changed last, newest first.

    Example: barnabas sessions list --limit 10
    """
    from barnabas.client import SyncClient
    from barnabas.history.moment import clock

    with progress("reading", is_shown=not as_json) as bar, SyncClient(context.settings(), on_progress=bar) as client:
        found = client.sessions(limit)
    for partition, listed in found:
        session_id = listed.key.decode(errors="replace")
        if as_json:
            fields = {"session_id": session_id, "partition": partition, "last_offset": listed.last_offset}
            context.print_json({**fields, "events": listed.events, "updated_at": listed.last_ms})
        else:
            place = f"{partition}@{listed.last_offset}"
            typer.echo(f"{clock(listed.last_ms)} {place:>12} {listed.events:>7} events  {session_id}")


@app.command(short_help="Show a session, now or at a moment.")
def show(
    session: SessionArgument,
    at: Annotated[str | None, typer.Option(help=f"As it was at {_PLACE}.")] = None,
    tenant: TenantOption = None,
    *,
    as_json: Json = False,
) -> None:
    """Fold a session out of the log, up to now or up to a moment, and show it.

    Example: barnabas sessions show ada --at -1h
    """
    from barnabas.client import SyncClient

    with progress("reading", is_shown=not as_json) as bar, SyncClient(context.settings(), on_progress=bar) as client:
        found = client.session(session, tenant=tenant, at=at)
    if as_json:
        _print_json(found)
    else:
        _show(found)


@app.command(cls=MomentsCommand, short_help="Show what became of a session.")
def diff(
    session: SessionArgument,
    before: Annotated[str, typer.Argument(metavar="A", help=f"The earlier moment: {_PLACE}.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The later moment, in the same words.")],
    tenant: TenantOption = None,
    *,
    as_json: Json = False,
) -> None:
    """Compare a session at two moments: memory that came and went, and every other field.

    Example: barnabas sessions diff ada 120 -0s
    """
    from barnabas.client import SyncClient

    with progress("reading", is_shown=not as_json) as bar, SyncClient(context.settings(), on_progress=bar) as client:
        found = client.diff(session, before, after, tenant=tenant)
    if as_json:
        _print_json({"added": found.added, "removed": found.removed, "changed": found.changed})
        return
    for sign, entries in (("-", found.removed), ("+", found.added)):
        for entry in entries:
            typer.echo(f"{sign} {_line(entry)}")
    for name, (old, new) in found.changed.items():
        typer.echo(f"  {name}: {old} -> {new}")
    if not (found.added or found.removed or found.changed):
        typer.echo("no difference")


def _show(session: Session) -> None:
    from barnabas.history.moment import clock

    if session.folded < 0:
        typer.echo(f"{session.session_id}: nothing is known of it then; barnabas sessions list shows which there are")
        return
    typer.secho(session.session_id, bold=True)
    typer.echo(f"created {clock(session.created_at)}, changed {clock(session.updated_at)} at offset {session.folded}")
    usage = session.usage
    typer.echo(
        f"{session.turns} turns of {session.agent or '-'}, {usage.prompt_tokens} prompt tokens, "
        f"{usage.completion_tokens} written"
    )
    if session.summary:
        typer.echo(f"summary: {session.summary}")
    for entry in session.memory:
        typer.echo(_line(entry))
    if session.open_turn is not None:
        typer.echo(f"open turn {session.open_turn.turn_id}: {session.open_turn.text}")


def _line(entry: MemoryEntry) -> str:
    return f"{entry.seq:>4} {entry.role:<10} {' '.join(entry.text.split())}"


def _print_json(value: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
