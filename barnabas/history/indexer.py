"""Brings a partition's index up to an offset: one pass over keys, in which no event is decoded but the openings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import Message

from barnabas.bounds import Bounds
from barnabas.history.index import Opening, PartitionIndex, Run
from barnabas.history.log import EventLog
from schemas.errors import DecodeError, UnknownEventError
from schemas.events import PartitionOpened
from schemas.serdes import Codec

#: Records a commit; some 20 MB while they are gathered.
COMMIT_RECORDS: Final = 200_000

#: ``(read, total)`` records.
OnProgress = Callable[[int, int], None]


def extend(  # noqa: PLR0917 -- one caller
    index: PartitionIndex,
    log: EventLog,
    codec: Codec,
    partition: int,
    bounds: Bounds,
    end: int,
    on_progress: OnProgress | None = None,
) -> None:
    """Index the partition up to ``end`` (excluded), from where the index stands.

    Raises:
        BrokerError: The log cannot be read.
        StoreError: The index cannot be written.
    """
    while True:
        place = index.place
        if place is None or place[1] > bounds.end:  # new, or the log was cut behind it (an unclean election)
            index.begin(bounds.earliest)
            place = (bounds.earliest, bounds.earliest)
        start = max(place[1], bounds.earliest)
        if start >= end:
            return
        if place[1] < bounds.earliest:  # what lay between is gone unread: what is kept does not join on
            index.begin(bounds.earliest)
        if _pass(index, log, codec, partition, start, end, on_progress):
            return


def _pass(  # noqa: PLR0917 -- private
    index: PartitionIndex,
    log: EventLog,
    codec: Codec,
    partition: int,
    start: int,
    end: int,
    on_progress: OnProgress | None,
) -> bool:
    """Index a range; False where another process went on meanwhile."""
    groups: dict[bytes, list[int]] = {}
    times: dict[bytes, int] = {}
    openings: list[Opening] = []
    begun, gathered = start, 0
    for batch in log.read(partition, start, end):
        for message in batch:
            key = message.key()
            if key is None:
                if (owner := _owner(message, codec, log.topic)) is not None:
                    openings.append(Opening(message.offset(), owner))
            elif key in groups:
                groups[key].append(message.offset())
            else:
                groups[key] = [message.offset()]
            if key is not None:
                times[key] = message.timestamp()[1]
        gathered += len(batch)
        if gathered >= COMMIT_RECORDS:
            reached = batch[-1].offset() + 1
            runs = {key: Run(offsets, times[key]) for key, offsets in groups.items()}
            if not index.extend(begun, reached, runs, openings):
                return False
            groups, times, openings, begun, gathered = {}, {}, [], reached, 0
        if on_progress is not None:
            on_progress(batch[-1].offset() + 1 - start, end - start)
    runs = {key: Run(offsets, times[key]) for key, offsets in groups.items()}
    return index.extend(begun, end, runs, openings)


def _owner(message: Message, codec: Codec, topic: str) -> str | None:
    """Return who opened the partition here; None where the record is none of ours."""
    try:
        event = codec.decode_event(message.value(), topic=topic, partition=message.partition(), offset=message.offset())
    except (DecodeError, UnknownEventError):
        return None
    return event.owner if isinstance(event, PartitionOpened) else None
