"""What reading commands share: a reader of a deployment's topic, and how records are shown."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from barnabas.commands import context
from barnabas.reader import ReadRecord, Start, TopicReader
from schemas.errors import DecodeError
from schemas.serdes import Codec
from topics.partitioner import partition_for, session_key

if TYPE_CHECKING:
    from barnabas.settings import Settings

_LONGEST = 160


def open_reader(
    settings: Settings, topic: str, *, start: Start, session: str | None = None, tenant: str | None = None
) -> TopicReader:
    """Read all of a topic, or a session's partition of it.

    Raises:
        BrokerError: Kafka does not answer, or the topic does not exist.
        TopicMismatchError: The topic has another number of partitions.
    """
    servers = context.bootstrap_servers(settings)
    partitions = None
    if session is not None:
        partitions = (partition_for(session_key(session, tenant), settings.partitions),)
    return TopicReader(
        servers,
        topic,
        start=start,
        partitions=partitions,
        expected_count=settings.partitions,
        client_config=settings.kafka,
    )


def codec_for(settings: Settings) -> Codec:
    """Return the codec of the deployment."""
    return Codec(registry_url=settings.schema_registry_url)


def print_record(record: ReadRecord, decoded: msgspec.Struct) -> None:
    """Print a record as one line of JSON: its place, then its fields."""
    place = {"partition": record.partition, "offset": record.offset, "timestamp_ms": record.timestamp_ms}
    sys.stdout.write(msgspec.json.encode({**place, **msgspec.json.decode(Codec.to_json(decoded))}).decode() + "\n")
    sys.stdout.flush()


def print_line(record: ReadRecord, name: str, session: str | None, *details: tuple[str, Any]) -> None:
    """Print a record as one line for people."""
    clock = time.strftime("%H:%M:%S", time.localtime(record.timestamp_ms / 1000))
    place = f"{record.partition}@{record.offset}"
    fields = " ".join(f"{label}={_short(value)}" for label, value in details if value not in (None, ""))
    sys.stdout.write(f"{clock}.{record.timestamp_ms % 1000:03d} {place:>9} {name:<15} {session or '-'} {fields}\n")
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
