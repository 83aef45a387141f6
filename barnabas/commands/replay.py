"""``barnabas replay``: the log once more, each event with its verdict."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption
from barnabas.commands.progress import progress

if TYPE_CHECKING:
    from barnabas.history.logged_event import LoggedEvent

_PLACE = "an offset, a time such as 2026-11-21T13:00:00Z, or how long ago, such as -15m"


def replay(
    session: SessionOption = None,
    tenant: TenantOption = None,
    *,
    partition: Annotated[int | None, typer.Option(min=0, help="All events of this partition.")] = None,
    start: Annotated[str | None, typer.Option("--from", help=f"The first event: {_PLACE}.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The last event, in the same words.")] = None,
    speed: Annotated[str, typer.Option(help="1x keeps the distances in time; also 10x, 0.5x, max.")] = "max",
    output: Annotated[
        Path | None, typer.Option(help="Write to this file instead: .jsonl, or .parquet (needs pyarrow).")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: Json = False,
) -> None:
    """Replay a session's events or a partition's, and say of each whether it counts, or which rule rejected it.

    Example: barnabas replay --session ada --from -1h --output ada.jsonl
    """
    from barnabas.client import SyncClient
    from barnabas.history.export import open_writer
    from schemas.errors import SettingsError

    if (session is None) == (partition is None):
        raise SettingsError("name what to replay: either --session or --partition")
    settings = context.settings()
    count = 0
    with (
        progress("reading", is_shown=not as_json) as bar,
        SyncClient(settings, on_progress=bar) as client,
        open_writer(output) if output is not None else nullcontext() as writer,
    ):
        for event in client.replay(
            session, tenant=tenant, partition=partition, start=start, end=end, follow=follow, speed=speed
        ):
            count += 1
            if writer is not None:
                writer.write(event)
                continue
            if bar is not None and count == 1:
                bar.stop()
            show(event, as_json=as_json)
    if output is not None:
        context.say(f"{count} events in {output}")


def show(logged: LoggedEvent, *, as_json: bool) -> None:
    """Print one event with its verdict."""
    from barnabas.commands.events import details_of
    from barnabas.commands.reading import print_line

    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.encode(logged.fields()).decode() + "\n")
        sys.stdout.flush()
    elif logged.event is None:
        print_line(logged, "undecodable", None, ("error", logged.error))
    else:
        says = ("verdict", logged.says)
        name, session_id = type(logged.event).__name__, getattr(logged.event, "session_id", None)
        print_line(logged, name, session_id, says, *details_of(logged.event))
