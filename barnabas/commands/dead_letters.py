"""``barnabas dead-letters``: see what was put aside, publish it again, or mark it as dealt with."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption
from barnabas.commands.dead_letter_options import (
    CauseOption,
    PartitionOption,
    SinceOption,
    letter_log,
    placed_at,
    selection,
)

if TYPE_CHECKING:
    from barnabas.dead_letter_retry import Amendment
    from barnabas.dead_letters import DeadLetterLog, Handled, Selection

app = typer.Typer(
    help="See, retry and drop what could not be handled.\n\nExample: barnabas dead-letters list --since 24h",
    no_args_is_help=True,
    rich_markup_mode=None,
)

#: Up to so many are named one by one.
_NAMED: Final = 20

PositionArgument = Annotated[str, typer.Argument(help="partition:offset, as list shows it.")]
PositionsArgument = Annotated[list[str] | None, typer.Argument(help="partition:offset of each, as list shows it.")]
ResolvedOption = Annotated[bool, typer.Option("--include-resolved", help="Retried and dropped ones, too.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every one that nobody has dealt with.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ByOption = Annotated[str | None, typer.Option(help="Who does it, for the record; user@host unless given.")]


@app.command("list", short_help="Print them, the newest last.")
def list_letters(
    partition: PartitionOption = None,
    cause: CauseOption = None,
    session: SessionOption = None,
    tenant: TenantOption = None,
    since: SinceOption = None,
    *,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0 for all.")] = 50,
    include_resolved: ResolvedOption = False,
    as_json: Json = False,
) -> None:
    """Print the dead letters that nobody has dealt with: position, time, cause, session, detail.

    Example: barnabas dead-letters list --cause unknown_agent --since 24h
    """
    from barnabas.commands.dead_letter_shown import row, summary

    wanted = selection(
        partition=partition, cause=cause, session=session, tenant=tenant, since=since, with_resolved=include_resolved
    )
    found: Iterator[dict[str, Any]] = (summary(placed) for placed in letter_log().read(wanted))
    if limit:
        found = reversed(heapq.nlargest(limit, found, key=lambda line: int(line["occurred_at"])))
    is_empty = True
    for line in found:
        is_empty = False
        if as_json:
            context.print_json(line)
        else:
            sys.stdout.write(row(line) + "\n")
    if is_empty and not as_json:
        context.say("no dead letters")


@app.command(short_help="Print one, whole.")
def show(
    position: PositionArgument,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The value's bytes alone, to standard output.")] = False,
    as_json: Json = False,
) -> None:
    """Print a dead letter with its original key, headers and value, decoded as far as that goes.

    Example: barnabas dead-letters show 3:17
    """
    import json

    from barnabas.commands.dead_letter_shown import print_whole, summary
    from barnabas.commands.reading import codec_for

    (placed,) = placed_at(letter_log(), [position])
    codec = codec_for(context.settings())
    if raw:
        sys.stdout.buffer.write(placed.letter.value or b"")
        sys.stdout.buffer.flush()
    elif as_json:
        context.print_json({**summary(placed), **json.loads(codec.to_json(placed.letter))})
    else:
        print_whole(placed, codec)


@app.command(short_help="Publish them again.")
def retry(
    positions: PositionsArgument = None,
    cause: CauseOption = None,
    session: SessionOption = None,
    tenant: TenantOption = None,
    since: SinceOption = None,
    *,
    agent: Annotated[str | None, typer.Option(help="Let this agent answer instead.")] = None,
    key: Annotated[str | None, typer.Option(help="Publish under this Kafka key (session id).")] = None,
    by: ByOption = None,
    edit: Annotated[bool, typer.Option("--edit", help="Correct the message in an editor first (one alone).")] = False,
    every: AllOption = False,
    again: Annotated[bool, typer.Option("--again", help="Also one that was retried or dropped before.")] = False,
    yes: YesOption = False,
    as_json: Json = False,
) -> None:
    """Publish dead letters to their topic again; a message keeps its message_id, so that it is answered once.

    One that fails again becomes a new dead letter that names the first. Exit code 1 where one was refused.

    Examples: barnabas dead-letters retry 3:17 --agent support;
    barnabas dead-letters retry --cause unknown_agent --yes (once the agent is declared)
    """
    from barnabas.dead_letter_retry import Amendment

    log = letter_log()
    narrowed = selection(cause=cause, session=session, tenant=tenant, since=since)
    wanted, count = _chosen(log, positions, narrowed, every=every, again=again)
    amendment = Amendment(agent=agent, key=None if key is None else key.encode())
    if edit:
        amendment = _edited(log, positions, amendment)
    if positions or _is_confirmed(f"publish {count} dead letters again?", count, yes=yes):
        _report(log.retry(wanted, by=by or _operator(), amendment=amendment), count, "published", as_json=as_json)


@app.command(short_help="Mark them as dealt with.")
def drop(
    positions: PositionsArgument = None,
    cause: CauseOption = None,
    session: SessionOption = None,
    tenant: TenantOption = None,
    since: SinceOption = None,
    *,
    by: ByOption = None,
    every: AllOption = False,
    yes: YesOption = False,
    as_json: Json = False,
) -> None:
    """Take dead letters off the list; who did it and when stays in the topic, and so do they until its retention ends.

    Example: barnabas dead-letters drop --cause undecodable --since 24h
    """
    log = letter_log()
    narrowed = selection(cause=cause, session=session, tenant=tenant, since=since)
    wanted, count = _chosen(log, positions, narrowed, every=every, again=True)
    if positions or _is_confirmed(f"drop {count} dead letters?", count, yes=yes):
        _report(log.drop(wanted, by=by or _operator()), count, "dropped", as_json=as_json)


def _chosen(
    log: DeadLetterLog, positions: list[str] | None, narrowed: Selection, *, every: bool, again: bool
) -> tuple[Selection, int]:
    """Return what is to be handled, fixed as it is now, and how many that are."""
    from barnabas.dead_letters import Selection
    from schemas.errors import SettingsError

    if positions:
        chosen = placed_at(log, positions)
        done = [placed for placed in chosen if placed.resolved is not None]
        if done and not again:
            names = ", ".join(f"{placed.position} was {placed.resolved.how}" for placed in done if placed.resolved)
            raise SettingsError(f"{names}; --again retries it all the same")
        found = frozenset(placed.position for placed in chosen)
        return Selection(positions=found, with_resolved=True), len(found)
    if not every and narrowed == Selection():
        raise typer.BadParameter("name positions, or --cause, --session or --since, or say --all")
    found = frozenset(placed.position for placed in log.read(narrowed))
    return Selection(positions=found), len(found)


def _edited(log: DeadLetterLog, positions: list[str] | None, amendment: Amendment) -> Amendment:
    """Let the operator correct a message."""
    import click

    from barnabas.commands.dead_letter_shown import editable
    from barnabas.commands.reading import codec_for

    if not positions or len(positions) != 1:
        raise typer.BadParameter("--edit corrects one dead letter at a time; name its position")
    (placed,) = placed_at(log, positions)
    text = click.edit(editable(placed.letter, codec_for(context.settings())), extension=".json")
    if text is None:
        context.say("nothing was changed: the value is published as it is")
        return amendment
    return replace(amendment, value=text.encode())


def _is_confirmed(question: str, count: int, *, yes: bool) -> bool:
    if not count:
        context.say("no dead letters")
        return False
    return context.is_confirmed(question, yes=yes)


def _report(handled: Iterator[Handled], count: int, what: str, *, as_json: bool) -> None:
    """Say what became of each; exit code 1 where one was refused."""
    refused = 0
    with typer.progressbar(length=count, label=what, file=sys.stderr, hidden=as_json or not sys.stderr.isatty()) as bar:
        for one in handled:
            bar.update(1)
            refused += one.refused is not None
            place = None if one.place is None else "{}-{}@{}".format(*one.place)
            if as_json:
                line = {"position": str(one.position), "done": one.refused is None}
                context.print_json({**line, "published_to": place, "refused": one.refused})
            elif one.refused is not None:
                sys.stdout.write(f"{one.position}: not {what}: {one.refused}\n")
            elif count <= _NAMED:
                sys.stdout.write(f"{one.position}: {what}{' as ' + place if place else ''}\n")
    if not as_json and count > _NAMED:
        sys.stdout.write(f"{count - refused} {what}, {refused} refused\n")
    if refused:
        raise typer.Exit(1)


def _operator() -> str:
    import getpass
    import socket

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
