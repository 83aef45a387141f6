"""``barnabas events``: the log, typed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption

if TYPE_CHECKING:
    from barnabas.reader import ReadRecord
    from barnabas.settings import Settings
    from schemas.events import LogEvent

#: Shown for people, where the event has them; the rest is in ``--json``.
_SHOWN = ("owner", "agent", "model", "text", "deltas", "cause", "detail", "reason", "into", "dropped_until")


def events(
    session: SessionOption = None,
    tenant: TenantOption = None,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning/--from-end", help="With the oldest record kept, or with what comes next.")
    ] = True,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    as_json: Json = False,
) -> None:
    """Print the event log, a session's or all of it.

    Example: barnabas events --session ada
    """
    from barnabas.commands.reading import codec_for, print_record, print_undecodable
    from schemas.errors import DecodeError, UnknownEventError

    settings = context.settings()
    codec, topic = codec_for(settings), settings.names.events
    follows = follow or not from_beginning
    if session is not None:
        records = _session_records(settings, session, tenant, from_beginning=from_beginning, follows=follows)
    else:
        records = _all_records(settings, from_beginning=from_beginning, follows=follows)
    with closing(records):
        for record in records:
            try:
                event = codec.decode_event(record.value, topic=topic, partition=record.partition, offset=record.offset)
            except (DecodeError, UnknownEventError) as error:
                print_undecodable(record, topic, error, as_json=as_json)
                continue
            if as_json:
                print_record(record, event)
            else:
                show(record, event)


def _all_records(settings: Settings, *, from_beginning: bool, follows: bool) -> Generator[ReadRecord, None, None]:
    from barnabas.commands.reading import open_reader
    from barnabas.reader import Start

    start = Start.BEGINNING if from_beginning else Start.END
    with open_reader(settings, settings.names.events, start=start) as reader:
        yield from reader.forever() if follows else reader.until_end()


def _session_records(
    settings: Settings, session: str, tenant: str | None, *, from_beginning: bool, follows: bool
) -> Generator[ReadRecord, None, None]:
    """Yield a session's records as they lie there: found through the index, and judged by nobody."""
    from barnabas.connection import connect
    from barnabas.history.history import History
    from topics.partitioner import session_key

    key = session_key(session, tenant)
    with closing(History(connect(settings))) as history:
        end = history.end_of(history.partition_of(key), None)
        if from_beginning:
            yield from history.records(key, 0, end)
        if follows:
            yield from history.follow(key, end)


def show(record: Any, event: LogEvent) -> None:
    """Print one event for people."""
    from barnabas.commands.reading import print_line

    print_line(record, type(event).__name__, getattr(event, "session_id", None), *details_of(event))


def details_of(event: LogEvent) -> list[tuple[str, Any]]:
    """Return what is shown of an event for people, beside its place and type."""
    from schemas.events import PartitionOpened

    details: list[tuple[str, Any]] = []
    if not isinstance(event, PartitionOpened):
        attempt = f"{event.attempt.epoch}.{event.attempt.number}"
        details += [("turn", event.turn_id[:9]), ("attempt", attempt)]
    return [*details, *((name, getattr(event, name, None)) for name in _SHOWN)]
