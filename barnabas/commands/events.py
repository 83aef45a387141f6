"""``barnabas events``: the log, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnabas.commands import context
from barnabas.commands.context import Json, SessionOption, TenantOption

if TYPE_CHECKING:
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
    from barnabas.commands.reading import codec_for, open_reader, print_record, print_undecodable
    from barnabas.reader import Start
    from schemas.errors import DecodeError, UnknownEventError
    from topics.partitioner import session_key

    settings = context.settings()
    codec = codec_for(settings)
    start = Start.BEGINNING if from_beginning else Start.END
    wanted = session_key(session, tenant) if session is not None else None
    topic = settings.names.events
    with open_reader(settings, topic, start=start, session=session, tenant=tenant) as reader:
        for record in reader.forever() if follow or not from_beginning else reader.until_end():
            if wanted is not None and record.key != wanted:
                continue
            try:
                event = codec.decode_event(record.value, topic=topic, partition=record.partition, offset=record.offset)
            except (DecodeError, UnknownEventError) as error:
                print_undecodable(record, topic, error, as_json=as_json)
                continue
            if as_json:
                print_record(record, event)
            else:
                show(record, event)


def show(record: Any, event: LogEvent) -> None:
    """Print one event for people."""
    from barnabas.commands.reading import print_line
    from schemas.events import PartitionOpened

    details: list[tuple[str, Any]] = []
    if not isinstance(event, PartitionOpened):
        attempt = f"{event.attempt.epoch}.{event.attempt.number}"
        details += [("turn", event.turn_id[:9]), ("attempt", attempt)]
    details += [(name, getattr(event, name, None)) for name in _SHOWN]
    print_line(record, type(event).__name__, getattr(event, "session_id", None), *details)
