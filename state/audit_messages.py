"""Every acknowledged message has exactly one accepted outcome, or a dead letter, or was sent on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import Message

from schemas.dead_letters import DeadLetter
from schemas.errors import DecodeError
from schemas.events import SessionEvent
from schemas.headers import headers_of, pinned_id
from schemas.ids import message_id_at
from schemas.serdes import Codec
from schemas.session import Session
from state.audit_report import FindingKind, Tally
from topics.partitioner import partition_for

_FINAL: Final = 1
_TWICE: Final = 2
_WAITING: Final = 4
_DEAD: Final = 8

_LEFT: Final = 1
_ARRIVED: Final = 2


class Position(NamedTuple):
    """A place in ``messages``."""

    partition: int
    offset: int


class Marks:
    """One byte a message, by offset."""

    __slots__ = ("_bytes", "first")

    def __init__(self, first: int, end: int) -> None:
        self.first = first
        self._bytes = bytearray(max(0, end - first))

    def add(self, offset: int, mark: int) -> int:
        """Add a mark and return what was there before; offsets outside are ignored."""
        index = offset - self.first
        if not 0 <= index < len(self._bytes):
            return 0
        before = self._bytes[index]
        self._bytes[index] = before | mark
        return before

    def offsets(self, having: int, lacking: int) -> list[int]:
        """Return the offsets with one mark and without another."""
        return [self.first + index for index, mark in enumerate(self._bytes) if mark & having and not mark & lacking]

    def __getitem__(self, offset: int) -> int:
        index = offset - self.first
        return self._bytes[index] if 0 <= index < len(self._bytes) else 0


class Reroutes:
    """Messages found on a wrong partition, over all partitions: each must have come to another one."""

    def __init__(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> None:
        """Take the retained range of each partition of ``topic``."""
        self._topic = topic
        self._marks = {partition: Marks(first, end) for partition, (first, end) in ranges.items()}
        self._is_whole = all(first == 0 for first, _ in ranges.values())

    def left(self, place: Position) -> None:
        """Note an acknowledged message that lies where it does not belong."""
        self._marks[place.partition].add(place.offset, _LEFT)

    def arrived(self, first_seen: str) -> None:
        """Note a message that was sent on from ``first_seen``."""
        topic, _, rest = first_seen.rpartition("-")[0].rpartition("-")
        offset = first_seen.rpartition("-")[2]
        if topic == self._topic and rest.isdecimal() and offset.isdecimal() and int(rest) in self._marks:
            self._marks[int(rest)].add(int(offset), _ARRIVED)

    def check(self, tally: Tally) -> None:
        """Report what left and never arrived; where retention may have taken it, it is unverifiable."""
        for partition, marks in self._marks.items():
            for offset in marks.offsets(_LEFT, _ARRIVED):
                if self._is_whole:
                    detail = f"{self._topic}-{partition}@{offset} is misplaced, acknowledged, and nowhere else"
                    tally.found(FindingKind.LOST_REROUTE, partition, detail, offset=offset)
                else:
                    tally.unverifiable["re-routed message whose copy may be beyond retention"] += 1


class MessageCheck:
    """One partition's messages against the outcomes of its log."""

    def __init__(self, topic: str, partition: int, watermarks: tuple[int, int], codec: Codec, tally: Tally) -> None:
        self._topic = topic
        self._partition = partition
        self._codec = codec
        self._tally = tally
        self._marks = Marks(*watermarks)
        #: ``{(key, message id): offset}`` of messages without an outcome of their own.
        self.undecided: dict[tuple[bytes, str], int] = {}

    def outcome(self, _session: Session, event: SessionEvent, offset: int, is_final: bool) -> None:  # noqa: FBT001
        """Note an accepted outcome at ``offset`` of the log."""
        before = self._marks.add(event.source_offset, _FINAL if is_final else _WAITING)
        if is_final and before & _FINAL and not before & _TWICE:
            self._marks.add(event.source_offset, _TWICE)
            detail = f"{self._topic}@{event.source_offset} ({event.message_id}) has a second outcome in the log"
            self._found(FindingKind.TWO_OUTCOMES, detail, event.session_id.encode(), offset)

    def dead_letter(self, message: Message) -> None:
        """Take a record of ``dead-letters``."""
        try:
            letter = self._codec.decode_dead_letter(
                message.value(), topic=message.topic(), partition=message.partition(), offset=message.offset()
            )
        except DecodeError:
            return
        if isinstance(letter, DeadLetter) and letter.topic == self._topic and letter.partition == self._partition:
            self._marks.add(letter.offset, _DEAD)

    def is_put_aside(self, offset: int) -> bool:
        """Say whether the message at ``offset`` has its dead letter in this partition."""
        return bool(self._marks[offset] & _DEAD)

    def acknowledged(self, message: Message) -> None:
        """Take a message that is acknowledged and belongs to this partition."""
        self._tally.messages += 1
        offset: int = message.offset()
        if self._marks[offset]:
            return
        key: bytes = message.key() or b""
        try:
            command = self._codec.decode_command(
                message.value(), topic=message.topic(), partition=message.partition(), offset=offset
            )
        except DecodeError as exc:
            self._missing(key, offset, f"it cannot be decoded ({exc.cause}) and has no dead letter")
            return
        message_id = command.message_id or first_seen(message)
        if (key, message_id) in self.undecided:
            return  # stands and falls with the first of its id
        self.undecided[key, message_id] = offset

    def decided_elsewhere(self, sessions: Mapping[bytes, Session]) -> None:
        """Drop those whose message id was decided with another record of it, as far as sessions remember."""
        for key, message_id in [*self.undecided]:
            session = sessions.get(key)
            if session is not None and any(decision.message_id == message_id for decision in session.recent):
                del self.undecided[key, message_id]

    def decided(self, _session: Session, event: SessionEvent, _offset: int, _is_final: bool) -> None:  # noqa: FBT001
        """Drop the one whose id has this outcome: a repeat from beyond what its session remembers."""
        self.undecided.pop((event.session_id.encode(), event.message_id), None)

    def report(self, *, is_verifiable: bool) -> None:
        """Report what is left."""
        for (key, message_id), offset in self.undecided.items():
            if is_verifiable:
                self._missing(key, offset, f"{message_id} has no outcome, no dead letter and no earlier record")
            else:
                self._tally.unverifiable["message whose outcome may lie beyond the log"] += 1

    def _missing(self, key: bytes, offset: int, why: str) -> None:
        self._found(
            FindingKind.MISSING_OUTCOME, f"{self._topic}-{self._partition}@{offset} is acknowledged; {why}", key, offset
        )

    def _found(self, kind: FindingKind, detail: str, key: bytes, offset: int) -> None:
        self._tally.found(kind, self._partition, detail, key=key, offset=offset)


def first_seen(message: Message) -> str:
    """Return the id of a message without one of its own: the place where it was first seen."""
    return header_first_seen(message) or message_id_at(message.topic(), message.partition(), message.offset())


def header_first_seen(message: Message) -> str | None:
    """Return where a re-routed message was first seen, None for one that was not re-routed."""
    return pinned_id(headers_of(message))


def is_misplaced(message: Message, partitions: int) -> bool:
    """Say whether a message's key belongs to another partition; without a key it is put aside where it lies."""
    key: bytes | None = message.key()
    return bool(key) and partition_for(key, partitions) != message.partition()
