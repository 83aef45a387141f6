"""What our consume loop hands to an agent: a run of one partition's records, and the cursor that checks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from faust.types import TP

from streams.acks import AckTracker


class KafkaRecord(Protocol):
    """What we read of aiokafka's ``ConsumerRecord``."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


#: Causes of an :class:`UnreadableRecord`.
UNDECODABLE_HEADERS: Final = "undecodable_headers"
CORRUPT_BATCH: Final = "corrupt_batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableRecord:
    """A record of which Kafka's client could not unpack a part; stands in the run at its own offset.

    Attributes:
        headers: What could be read; of a name that is not UTF-8, the bytes are kept as surrogate escapes.
        cause: ``undecodable_headers`` (key and value are sound), or ``corrupt_batch`` (nothing is; ``value`` is the
            whole batch as fetched, with the first of its records).
        detail: A sentence for people.
    """

    topic: str
    partition: int
    offset: int
    cause: str
    detail: str
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Delivery(NamedTuple):
    """A run of one partition's records; a Faust event's value is a list of them.

    Attributes:
        tp: Where they come from.
        start: The position the fetch began at; the first record may lie behind it (a hole in the log).
        records: In offset order.
    """

    tp: TP
    start: int
    records: list[KafkaRecord]

    @property
    def end(self) -> int:
        """The position behind the last record."""
        return self.records[-1].offset + 1


class Admission(Enum):
    """What a cursor says of a delivery."""

    NEXT = auto()
    REPEATED = auto()
    GAP = auto()


class Cursor:
    """One partition's place: what was handled, what was fetched, what may be committed.

    ``handled`` moves only when the agent took a delivery; a delivery that does not begin there has lost
    something before it, whatever dropped it (hazards S1, S3, P2), and the partition is read again from
    ``handled``.
    """

    __slots__ = ("acks", "committed", "confirmed_end", "confirmed_hole", "fetched", "handled", "stalled_at")

    def __init__(self, position: int) -> None:
        self.handled = position
        self.fetched = position
        self.acks = AckTracker(position)
        self.committed = position
        #: Position at which a seek was answered with a later record: the log really has a hole there.
        self.confirmed_hole = -1
        #: Position beyond ``fetched`` behind which a second reading found nothing, either.
        self.confirmed_end = -1
        #: ``handled`` at the last check for a missing tail.
        self.stalled_at = -1

    def admit(self, delivery: Delivery) -> Admission:
        """Say whether a delivery is the next one; NEXT moves the cursor and begins its records."""
        if delivery.end <= self.handled:
            return Admission.REPEATED
        if delivery.start > self.handled:
            return Admission.GAP
        self.handled = delivery.end
        return Admission.NEXT

    def is_missing_tail(self) -> bool:
        """Say whether fetched records never arrived since the last call (one second ago)."""
        missing = self.fetched > self.handled and self.stalled_at == self.handled
        self.stalled_at = self.handled
        return missing
