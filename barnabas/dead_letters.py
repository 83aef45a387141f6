"""The dead letters of a deployment: reads them, publishes them again, and notes what was done with each.

The topic is a log: what an operator did is a ``DeadLetterResolved`` behind the letter, in the same partition.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple, Self

from barnabas.dead_letter_retry import Amendment, outgoing
from barnabas.publishing import MessagePublisher, Outgoing, Published
from barnabas.reader import Start, TopicReader
from schemas.dead_letters import DeadLetter, DeadLetterRecord, DeadLetterResolved, Resolution
from schemas.errors import DecodeError, InvalidMessageError, SettingsError
from schemas.headers import headers_for
from schemas.serdes import Codec
from topics.names import TopicNames

_SOURCE: Final = "/barnabas/dead-letters"

#: Published and confirmed together, and in memory at once.
_TOGETHER: Final = 100


class Position(NamedTuple):
    """Where a dead letter lies in ``dead-letters``; ``partition:offset`` as text."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``partition:offset``.

        Raises:
            SettingsError: It is none.
        """
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise SettingsError(f"{text!r} is no position; `barnabas dead-letters list` shows them, such as 3:17")
        return cls(int(partition), int(offset))


class PlacedLetter(NamedTuple):
    """A dead letter, where it lies, and what was done with it last."""

    position: Position
    letter: DeadLetter
    resolved: DeadLetterResolved | None


class Handled(NamedTuple):
    """What became of a dead letter: published to ``place``, or left alone because of ``refused``, or dropped."""

    position: Position
    place: Published | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters; all conditions together.

    Attributes:
        positions: These; any where None.
        partition: Of ``dead-letters``.
        cause: The error code.
        key: The session's Kafka key.
        since_ms: Put aside at this Unix time in milliseconds or later.
        with_resolved: Retried and dropped ones, too.
    """

    positions: frozenset[Position] | None = None
    partition: int | None = None
    cause: str | None = None
    key: bytes | None = None
    since_ms: int | None = None
    with_resolved: bool = False

    def takes(self, placed: PlacedLetter) -> bool:
        """Say whether a dead letter is among them."""
        letter = placed.letter
        return (
            (self.with_resolved or placed.resolved is None)
            and (self.positions is None or placed.position in self.positions)
            and (self.cause is None or letter.cause == self.cause)
            and (self.key is None or letter.key == self.key)
            and (self.since_ms is None or letter.occurred_at >= self.since_ms)
        )

    def begins(self) -> Mapping[int, int] | None:
        """Return the first offset to read of each partition; None for all of all."""
        if self.positions is not None:
            begins: dict[int, int] = {}
            for partition, offset in self.positions:
                begins[partition] = min(offset, begins.get(partition, offset))
            return begins
        return None if self.partition is None else {self.partition: 0}


class DeadLetterLog:
    """Reads and resolves dead letters; connects when it is used."""

    def __init__(
        self,
        bootstrap_servers: str,
        names: TopicNames,
        codec: Codec,
        *,
        partitions: int,
        client_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the address and the deployment's names, codec and number of partitions."""
        self._servers = bootstrap_servers
        self._names = names
        self._codec = codec
        self._partitions = partitions
        self._client_config = client_config

    def read(self, wanted: Selection) -> Iterator[PlacedLetter]:
        """Yield the dead letters there are, each partition's in order; bounded memory.

        Raises:
            BrokerError: Kafka does not answer.
            TopicMismatchError: The topic has another number of partitions.
            SettingsError: There is no such partition.
        """
        # What was done with a letter lies behind it: read once for that, and once for the letters.
        resolved: dict[Position, DeadLetterResolved] = {}
        for _, record in self._records(wanted):
            if isinstance(record, DeadLetterResolved):
                resolved[Position(record.partition, record.offset)] = record
        for position, record in self._records(wanted):
            if isinstance(record, DeadLetter):
                placed = PlacedLetter(position, record, resolved.get(position))
                if wanted.takes(placed):
                    yield placed

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the offset of each partition's oldest record that is kept, and its end; raises as :meth:`read`."""
        with self._reader(Start.END) as reader:
            begins = reader.current_begins()
            return {number: (begins[number], end) for number, end in reader.ends.items()}

    def between(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[tuple[Position, DeadLetterRecord]]:
        """Yield the records of each partition from the first offset to before the second, in order.

        Raises as :meth:`read`.
        """
        begins = {number: first for number, (first, _) in spans.items()}
        ends = {number: end for number, (_, end) in spans.items()}
        with self._reader(begins, partitions=sorted(spans), upto=ends) as reader:
            yield from self._decoded(reader)

    def retry(self, wanted: Selection, *, by: str, amendment: Amendment | None = None) -> Iterator[Handled]:
        """Publish dead letters again, each under its ``message_id``; yields what became of each.

        A crash in between leaves some published and not marked: retrying them again does no harm.

        Raises:
            BrokerError: A record was not confirmed. Also as :meth:`read`.
        """
        publisher = self._publisher()
        for letters in _chunks(self.read(wanted)):
            records: list[Outgoing] = []
            retried: list[PlacedLetter] = []
            for placed in letters:
                try:
                    records.append(self._outgoing(placed, amendment or Amendment()))
                except InvalidMessageError as error:
                    yield Handled(placed.position, refused=str(error))
                else:
                    retried.append(placed)
            places = publisher.write(records)
            publisher.write(
                [
                    self._resolution(placed, Resolution.RETRIED, by, place)
                    for placed, place in zip(retried, places, strict=True)
                ]
            )
            for placed, place in zip(retried, places, strict=True):
                yield Handled(placed.position, place=place)

    def drop(self, wanted: Selection, *, by: str) -> Iterator[Handled]:
        """Mark dead letters as dropped; they stay in the topic as long as its retention says. Raises as `retry`."""
        publisher = self._publisher()
        for letters in _chunks(self.read(wanted)):
            publisher.write([self._resolution(placed, Resolution.DROPPED, by) for placed in letters])
            for placed in letters:
                yield Handled(placed.position)

    def _outgoing(self, placed: PlacedLetter, amendment: Amendment) -> Outgoing:
        return outgoing(
            placed.letter,
            str(placed.position),
            names=self._names,
            partitions=self._partitions,
            codec=self._codec,
            amendment=amendment,
        )

    def _resolution(self, placed: PlacedLetter, how: Resolution, by: str, place: Published | None = None) -> Outgoing:
        record = DeadLetterResolved(
            partition=placed.position.partition,
            offset=placed.position.offset,
            how=how,
            by=by,
            occurred_at=time.time_ns() // 1_000_000,
            published_to=None if place is None else "-".join(map(str, place)),
        )
        topic = self._names.dead_letters
        headers = list[tuple[str, bytes | None]](headers_for(record, source=_SOURCE))
        value = self._codec.encode(record, topic=topic)
        return Outgoing(topic, placed.position.partition, placed.letter.key, value, headers)

    def _records(self, wanted: Selection) -> Iterator[tuple[Position, DeadLetterRecord]]:
        begins = wanted.begins()
        beyond = [number for number in begins or () if number >= self._partitions]
        if beyond:
            raise SettingsError(f"there is no partition {beyond[0]}; there are 0 to {self._partitions - 1}")
        start = Start.BEGINNING if begins is None else begins
        with self._reader(start, partitions=None if begins is None else sorted(begins)) as reader:
            yield from self._decoded(reader)

    def _decoded(self, reader: TopicReader) -> Iterator[tuple[Position, DeadLetterRecord]]:
        for record in reader.until_end():
            position = Position(record.partition, record.offset)
            try:
                found = self._codec.decode_dead_letter(record.value, topic=reader.topic, **position._asdict())
            except DecodeError:
                continue  # none of ours
            yield position, found

    def _reader(
        self,
        start: Start | Mapping[int, int],
        *,
        partitions: Sequence[int] | None = None,
        upto: Mapping[int, int] | None = None,
    ) -> TopicReader:
        return TopicReader(
            self._servers,
            self._names.dead_letters,
            start=start,
            partitions=partitions,
            upto=upto,
            expected_count=self._partitions,
            client_config=self._client_config,
        )

    def _publisher(self) -> MessagePublisher:
        return MessagePublisher(self._servers, client_config=self._client_config)


def _chunks(letters: Iterable[PlacedLetter]) -> Iterator[list[PlacedLetter]]:
    left = iter(letters)
    while chunk := list(islice(left, _TOGETHER)):
        yield chunk
