"""What reading commands share: a reader of a deployment's topic, and how records are shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from barnabas.commands import context
from barnabas.connection import connect
from barnabas.cursor import Cursor
from barnabas.history.moment import clock
from barnabas.reader import ReadRecord, Start, TopicReader
from schemas.errors import BarnabasError, CursorError, CursorExpiredError, DecodeError
from schemas.serdes import Codec
from topics.partitioner import session_key

if TYPE_CHECKING:
    from barnabas.history.logged_event import LoggedEvent
    from barnabas.settings import Settings

_LONGEST = 160


def open_reader(
    settings: Settings,
    topic: str,
    *,
    start: Start,
    session: str | None = None,
    tenant: str | None = None,
    after: Cursor | None = None,
) -> TopicReader:
    """Read all of a topic, a session's partition of it, or what lies behind a cursor, in its partition.

    Raises:
        CursorError: The cursor is of another partition, or its records are gone or not there yet.
        BrokerError: Kafka does not answer, or the topic does not exist.
        TopicMismatchError: The topic has another number of partitions.
    """
    found = connect(settings)
    partitions = range(found.partitions)
    if session is not None:
        own = found.partition_of(session_key(session, tenant))
        partitions = range(own, own + 1)
    if after is not None:
        if after.partition not in partitions:
            raise CursorError(f"--after {after}: it is of another partition; there, records are of {partitions[0]}")
        partitions = range(after.partition, after.partition + 1)
    reader = TopicReader(
        found.servers,
        topic,
        start=start if after is None else {after.partition: after.next_offset},
        partitions=partitions,
        expected_count=found.partitions,
        client_config=settings.kafka,
    )
    try:
        if after is not None:
            _check_kept(reader, after)
    except BarnabasError:
        reader.close()
        raise
    return reader


def _check_kept(reader: TopicReader, after: Cursor) -> None:
    earliest, end = reader.current_begins()[after.partition], reader.ends[after.partition]
    if after.next_offset < earliest:
        first = Cursor(after.partition, earliest - 1)
        raise CursorExpiredError(
            f"--after {after}: the next records are gone; the oldest follow {first}", earliest=str(first)
        )
    if after.next_offset > end:
        raise CursorError(
            f"--after {after}: {reader.topic} ends at offset {end}; it was made again since, or is another"
        )


def codec_for(settings: Settings) -> Codec:
    """Return the codec of the deployment."""
    return Codec(registry_url=settings.schema_registry_url)


def print_record(record: ReadRecord, decoded: msgspec.Struct, **more: str) -> None:
    """Print a record as one line of JSON: its place, what else is said of it, then its fields."""
    place = {"partition": record.partition, "offset": record.offset, "timestamp_ms": record.timestamp_ms, **more}
    sys.stdout.write(msgspec.json.encode({**place, **msgspec.json.decode(Codec.to_json(decoded))}).decode() + "\n")
    sys.stdout.flush()


def print_line(record: ReadRecord | LoggedEvent, name: str, session: str | None, *details: tuple[str, Any]) -> None:
    """Print a record as one line for people."""
    place = f"{record.partition}@{record.offset}"
    fields = " ".join(f"{label}={_short(value)}" for label, value in details if value not in (None, ""))
    sys.stdout.write(f"{clock(record.timestamp_ms)} {place:>9} {name:<15} {session or '-'} {fields}\n")
    sys.stdout.flush()


def print_undecodable(record: ReadRecord, topic: str, error: Exception, *, as_json: bool) -> None:
    """Print where a record lies that is none of ours, and why; the reader goes on behind it."""
    cause = error.cause if isinstance(error, DecodeError) else str(error)
    if as_json:
        context.print_json({"topic": topic, "partition": record.partition, "offset": record.offset, "error": cause})
    else:
        print_line(record, "undecodable", None, ("topic", topic), ("error", cause))


def _short(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    text = " ".join(value.split(" ")).replace("\n", "\\n")
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f'"{shown}"' if " " in shown or not shown.strip() else shown
