"""The audit of one partition: its claims, its log, its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import Message

from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.audit_fold import LogFold
from state.audit_messages import MessageCheck, Position, Reroutes, header_first_seen, is_misplaced
from state.audit_reader import AuditReader
from state.audit_report import FindingKind, Tally
from state.audit_tables import UnreadableTableError, local_tables
from state.audit_values import Claims
from state.value import PARTITION_KEY, ValueCodec
from topics.names import TopicNames

NO_BEGINNING: Final = "value of a partition whose log has lost its beginning"


class AuditScope(NamedTuple):
    """What the partitions of an audit share.

    Attributes:
        reader: The audit's consumer.
        names: The deployment's topics.
        codec: Decodes all records.
        partitions: How many each topic has.
        only: Key of the one session to look at, None for all.
        data_dir: The deployment's data folder on this machine, None for no local tables.
        expect: Hears how many records will be read.
        tally: Where everything is noted.
    """

    reader: AuditReader
    names: TopicNames
    codec: Codec
    partitions: int
    only: bytes | None
    data_dir: Path | None
    expect: Callable[[int], None]
    tally: Tally


class PartitionAudit:
    """One partition, once."""

    def __init__(
        self,
        scope: AuditScope,
        number: int,
        events_committed: int,
        messages_committed: int,
        reroutes: Reroutes | None,
    ) -> None:
        """Take what was committed before anything else was read; -1 for nothing."""
        self._scope = scope
        self._reader, self._names, self._tally = scope.reader, scope.names, scope.tally
        self._only = scope.only
        self._wanted = None if scope.only is None else frozenset({scope.only, PARTITION_KEY})
        self._number = number
        self._events_committed = events_committed
        self._messages_committed = messages_committed
        self._reroutes = reroutes
        #: The log could be folded from its beginning to its end.
        self._is_whole = True

    def run(self) -> None:
        """Audit it; what is found goes to the tally."""
        claims = self._claims()
        topic = self._names.messages
        watermarks = self._reader.watermarks(topic, self._number)
        check = MessageCheck(topic, self._number, watermarks, self._scope.codec, self._tally)
        fold = self._fold(claims, check)
        self._tally.sessions += len((fold.sessions.keys() | claims.keys.keys()) - {PARTITION_KEY})
        self._check_messages(check, fold, watermarks)

    # -- Changelog and local tables

    def _claims(self) -> Claims:
        number, data_dir = self._number, self._scope.data_dir
        claims = Claims(number, ValueCodec(self._scope.codec), self._tally)
        if data_dir is not None:
            try:
                for table in local_tables(data_dir, number, self._wanted):
                    claims.add_table(table)
            except UnreadableTableError as exc:
                self._tally.found(FindingKind.UNREADABLE_TABLE, number, str(exc))
        end = self._read_changelog(claims, 0)
        claims.check()
        stale = claims.stale_keys()
        if stale:  # a running owner sends them again within moments
            self._read_changelog(claims, end)
            claims.report_stale(stale)
        return claims

    def _read_changelog(self, claims: Claims, first: int) -> int:
        topic = self._names.changelog
        earliest, end = self._reader.watermarks(topic, self._number)
        for batch in self._read(topic, max(first, earliest), end):
            for message in batch:
                if self._wanted is None or message.key() in self._wanted:
                    claims.add_record(message)
        return end

    # -- The log

    def _fold(self, claims: Claims, check: MessageCheck) -> LogFold:
        topic, number, committed = self._names.events, self._number, self._events_committed
        first, end = self._reader.watermarks(topic, number)
        self._tally.lag_events += end - max(committed, first)
        lost: set[bytes] = set()

        def applied(key: bytes, offset: int, value: Session | PartitionState) -> None:
            claims.compare(key, offset, value)
            if offset < committed and key not in lost and claims.lacks(key, offset):
                lost.add(key)
                detail = f"{topic}@{offset} is applied and acknowledged, and the changelog holds nothing as new"
                self._tally.found(FindingKind.LOST_EVENT, number, detail, key=key, offset=offset)

        fold = LogFold(number, self._scope.codec, only=self._only, on_applied=applied, on_outcome=check.outcome)
        if first > 0:
            self._tally.unverifiable[NO_BEGINNING] += len(claims.keys)
            self._is_whole = False
            return fold
        for batch in self._events(end):
            fold.feed(batch)
        self._tally.undecodable += fold.undecodable
        claims.report_unmatched(end if fold.stopped_at is None else fold.stopped_at)
        self._is_whole = fold.stopped_at is None
        return fold

    def _events(self, end: int) -> Iterator[list[Message]]:
        for batch in self._read(self._names.events, 0, end):
            self._tally.events += len(batch)
            yield batch

    # -- Messages

    def _check_messages(self, check: MessageCheck, fold: LogFold, watermarks: tuple[int, int]) -> None:
        first, end = watermarks
        self._tally.lag_messages += end - max(self._messages_committed, first)
        dead_letters = self._names.dead_letters
        for batch in self._read(dead_letters, *self._reader.watermarks(dead_letters, self._number)):
            for letter in batch:
                check.dead_letter(letter)
        for batch in self._read(self._names.messages, first, end):
            for message in batch:
                self._message(message, check)
        check.decided_elsewhere(fold.sessions)
        if check.undecided and self._is_whole:
            # Beyond what sessions remember: the log itself, once more.
            again = LogFold(self._number, self._scope.codec, only=self._only, on_outcome=check.decided)
            for batch in self._events(self._reader.watermarks(self._names.events, self._number)[1]):
                again.feed(batch)
        check.report(is_verifiable=self._is_whole)

    def _message(self, message: Message, check: MessageCheck) -> None:
        seen = header_first_seen(message) if self._reroutes is not None else None
        if self._reroutes is not None and seen is not None:
            self._reroutes.arrived(seen)
        if message.offset() >= self._messages_committed:
            return
        if self._only is not None and message.key() != self._only:
            return
        if not is_misplaced(message, self._scope.partitions):
            check.acknowledged(message)
        elif self._reroutes is not None and not check.is_put_aside(message.offset()):
            self._tally.messages += 1
            if seen is not None:  # it is sent on under the id that it came with
                self._tally.unverifiable["re-routed message that came with a pinned id"] += 1
                return
            self._reroutes.left(Position(self._number, message.offset()))

    def _read(self, topic: str, first: int, end: int) -> Iterator[list[Message]]:
        self._scope.expect(max(0, end - first))
        return self._reader.read(topic, self._number, first, end)
