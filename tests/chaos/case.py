"""A run before the judge: the log's verdict, the table folded from it, what was asked and what proves it done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from schemas.events import PartitionOpened, SessionEvent, ToolCalled
from schemas.headers import FIRST_SEEN
from schemas.ids import message_id_at, turn_id_for
from tests.chaos.evidence import Effect, Evidence
from tests.chaos.load import MARK, POISONS, Action
from tests.chaos.memory_fold import TableFold
from tests.chaos.verdict import Verdict
from tests.support.checker import LogFold, fold_log, wire_codec
from tests.support.topic_reader import Read
from topics.partitioner import partition_for

#: Longest key that can be a session's.
_MAX_KEY_BYTES: Final = 512


class Proof(NamedTuple):
    """A record that says that something is done."""

    topic: str
    partition: int
    offset: int


class Letter(NamedTuple):
    """Where a dead letter lies, and why it was written."""

    partition: int
    offset: int
    cause: str


@dataclass(frozen=True)
class Message:
    """A record of ``messages`` as it has to be understood."""

    read: Read
    mark: str
    pinned: str | None
    origin: str
    named: str | None
    text: str
    is_misplaced: bool

    @property
    def key(self) -> bytes:
        """The session's."""
        return self.read.key or b""

    @property
    def session_id(self) -> str:
        """Its key as text."""
        return self.key.decode(errors="replace")

    @property
    def message_id(self) -> str:
        """Its name, or the place where it was first seen."""
        return self.named or self.origin

    @cached_property
    def turn_id(self) -> str:
        """The turn that answers it."""
        return turn_id_for(self.session_id, self.message_id)

    @property
    def is_poison(self) -> bool:
        """Whether it is no message at all."""
        return self.mark in POISONS

    @property
    def has_readers(self) -> bool:
        """Whether its key can be a session's, so that somebody may wait for its end."""
        return 0 < len(self.key) <= _MAX_KEY_BYTES and not self.key.startswith(b"\x00")

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.read.partition, self.read.offset

    def __str__(self) -> str:
        return f"{self.mark} {self.session_id!r} {self.message_id!r} at {self.place[0]}@{self.place[1]}"


@dataclass
class Case:
    """Evidence, folded."""

    evidence: Evidence
    verdict: Verdict = field(default_factory=Verdict)
    table: TableFold = field(default_factory=TableFold)

    def __post_init__(self) -> None:
        names = self.evidence.names
        #: What the log let tools do.
        self.tool_calls: set[Effect] = set()
        self.log: LogFold = fold_log(self.evidence.of(names.events), names.events, on_accepted=self._accepted)
        #: When a worker opened a partition last, Unix time: ``{(worker, partition): time}``.
        self.opened_at = self._openings()
        self.messages = [self._message(read) for read in self.evidence.of(names.messages)]
        self.letters = self._dead_letters()
        #: The first copy of each re-routed message, where its key belongs.
        self._copies: dict[str, Message] = {}
        for message in self.messages:
            if message.pinned is not None and not message.is_misplaced:
                self._copies.setdefault(message.pinned, message)

    def partition_of(self, session_id: str) -> int:
        """Return where a session belongs."""
        return partition_for(session_id.encode(), self.evidence.partitions)

    def proof_of(self, message: Message) -> Proof | None:
        """Return the first record that shows that a message was done with where it lies, if there is one."""
        names = self.evidence.names
        if message.is_misplaced:
            copy = self._copies.get(message.origin)
            return Proof(names.messages, *copy.place) if copy is not None else None
        if message.is_poison:
            letter = self.letters.get(message.place)
            return Proof(names.dead_letters, letter.partition, letter.offset) if letter is not None else None
        return self.proof_of_outcome(message.turn_id)

    def proof_of_outcome(self, turn_id: str) -> Proof | None:
        """Return the accepted outcome of a turn, if there is one."""
        accepted = self.log.outcomes.get(turn_id)
        return Proof(self.evidence.names.events, accepted.partition, accepted.offset) if accepted is not None else None

    def _accepted(self, offset: int, event: SessionEvent) -> None:
        self.table.apply(offset, event)
        if isinstance(event, ToolCalled):
            self.tool_calls.add(Effect(event.turn_id, event.call.call_id))

    def _message(self, read: Read) -> Message:
        headers = dict(read.headers)
        mark = headers.get(MARK, Action.UNREADABLE.encode()).decode()
        pinned = headers[FIRST_SEEN].decode() if FIRST_SEEN in headers else None
        origin = pinned or message_id_at(self.evidence.names.messages, read.partition, read.offset)
        body = {} if mark in POISONS else json.loads(read.value or b"{}")
        is_misplaced = bool(read.key) and partition_for(read.key or b"", self.evidence.partitions) != read.partition
        return Message(read, mark, pinned, origin, body.get("message_id"), body.get("text", ""), is_misplaced)

    def _openings(self) -> dict[tuple[str, int], float]:
        codec, topic = wire_codec(), self.evidence.names.events
        found: dict[tuple[str, int], float] = {}
        for read in self.evidence.of(topic):
            event = codec.decode_event(read.value, topic=topic, partition=read.partition, offset=read.offset)
            if isinstance(event, PartitionOpened):
                found[event.owner, read.partition] = read.timestamp_ms / 1000
        return found

    def _dead_letters(self) -> dict[tuple[int, int], Letter]:
        """Return the first letter of each record of ``messages``, by the record's place."""
        names, codec = self.evidence.names, wire_codec()
        found: dict[tuple[int, int], Letter] = {}
        for read in self.evidence.of(names.dead_letters):
            letter = codec.decode_dead_letter(
                read.value, topic=names.dead_letters, partition=read.partition, offset=read.offset
            )
            self.verdict.dead_letters[letter.cause] += 1
            if letter.topic == names.messages:
                here = Letter(read.partition, read.offset, letter.cause)
                found.setdefault((letter.partition, letter.offset), here)
            else:
                text = f"of {letter.topic}-{letter.partition}@{letter.offset}: {letter.cause}: {letter.detail}"
                self.verdict.fault("dead letter", text)
        return found
