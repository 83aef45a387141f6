"""Writes the fold of the log back to the changelog: ``barnabas doctor --rebuild``.

A value carries how far it is folded, so a record written twice, or behind a running owner's, changes nothing for the
worse (an owner sends its newer value again, hazard S2). The partition's own record is written last, when all its
sessions are confirmed: without it a worker folds the log again by itself, so a rebuild that dies leaves nothing that
looks whole.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from schemas.errors import DeliveryUnknownError
from schemas.serdes import Codec
from state.audit_fold import LogFold
from state.audit_reader import AuditReader
from state.audit_report import Tally
from state.audit_values import Claims
from state.value import PARTITION_KEY, ValueCodec
from topics.catalog import MAX_RECORD_BYTES
from topics.names import TopicNames
from topics.partitioner import partition_for

_CONFIRM_S: Final = 60.0

NO_BEGINNING: Final = "partition whose log has lost its beginning"
UNKNOWN_EVENT: Final = "partition with an event that this version does not know"
BEYOND_LOG: Final = "value folded beyond the log: stop the workers, make the changelog topic anew, rebuild again"


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild did.

    Attributes:
        partitions: How many were folded.
        events: Records read from the log.
        sessions: Sessions folded.
        written: Values that were missing or differed, now confirmed in the changelog.
        skipped: What could not be rebuilt, by reason.
        seconds: Wall time.
    """

    partitions: int
    events: int
    sessions: int
    written: int
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether everything could be rebuilt."""
        return not self.skipped

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what ``json.dumps`` takes."""
        return {**asdict(self), "is_complete": self.is_complete}


def rebuild(
    bootstrap_servers: str,
    names: TopicNames,
    *,
    client_config: Mapping[str, object] | None = None,
    codec: Codec | None = None,
    partitions: Iterable[int] | None = None,
    session: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RebuildReport:
    """Fold the log from its beginning and write what the changelog lacks or holds otherwise. Blocking.

    May be repeated, and may die at any point. A running owner keeps its local table until its next recovery: where a
    value is wrong at the right ``folded``, stop the workers first.

    Args:
        bootstrap_servers: ``host:port`` list, comma separated.
        names: The deployment's topics.
        client_config: Further librdkafka settings (TLS, SASL).
        codec: Shared, where there is one with a registry.
        partitions: Which to rebuild; all by default.
        session: Key of the one session to rebuild.
        on_progress: ``(records read, records to be read)``.

    Raises:
        DeliveryUnknownError: A record was not confirmed; call again.
        RecoveryError: A topic does not exist, or the broker stopped answering.
        KafkaException: The broker cannot be reached or refuses.
    """
    began, read, total = time.monotonic(), 0, 0

    def advance(records: int) -> None:
        nonlocal read
        read += records
        if on_progress is not None:
            on_progress(read, max(read, total))

    with AuditReader(bootstrap_servers, names.group_id, client_config, advance) as reader:
        count = reader.partition_count(names.events)
        only = session.encode() if session is not None else None
        numbers = [*range(count)] if partitions is None else sorted(set(partitions))
        if only is not None:
            numbers = [partition_for(only, count)]
        total = sum(
            end - first
            for topic in (names.events, names.changelog)
            for first, end in (reader.watermarks(topic, number) for number in numbers)
        )
        run = _Rebuild(reader, names, _writer(bootstrap_servers, client_config), codec or Codec(), only)
        for number in numbers:
            run.partition(number)
    return RebuildReport(
        partitions=run.partitions,
        events=run.events,
        sessions=run.sessions,
        written=run.written,
        skipped=dict(run.skipped),
        seconds=time.monotonic() - began,
    )


def _writer(bootstrap_servers: str, client_config: Mapping[str, object] | None) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "message.max.bytes": MAX_RECORD_BYTES,
            "queue.buffering.max.messages": 200_000,
            **(client_config or {}),
        }
    )


class _Rebuild:
    def __init__(
        self, reader: AuditReader, names: TopicNames, writer: Producer, codec: Codec, only: bytes | None
    ) -> None:
        self._reader = reader
        self._names = names
        self._writer = writer
        self._codec = codec
        self._values = ValueCodec(codec)
        self._only = only
        self._failed: KafkaError | None = None
        self.partitions = self.events = self.sessions = self.written = 0
        self.skipped: Counter[str] = Counter()

    def partition(self, number: int) -> None:
        """Rebuild one partition: its sessions, and then its own record."""
        claims = self._changelog(number)
        first, end = self._reader.watermarks(self._names.events, number)
        if first > 0:
            self.skipped[NO_BEGINNING] += 1
            return
        fold = LogFold(number, self._codec, only=self._only)
        for batch in self._reader.read(self._names.events, number, 0, end):
            self.events += len(batch)
            fold.feed(batch)
        if fold.stopped_at is not None:
            self.skipped[UNKNOWN_EVENT] += 1
            return
        for key, session in fold.sessions.items():
            self._restore(claims, key, session.folded, self._values.encode(session))
        for _ in claims.keys.keys() - fold.sessions.keys() - {PARTITION_KEY}:
            self.skipped[BEYOND_LOG] += 1
        self._confirm()
        if self._only is None and fold.partition.state.folded >= 0:
            state = fold.partition.state
            self._restore(claims, PARTITION_KEY, state.folded, self._values.encode(state))
            self._confirm()
        self.partitions += 1
        self.sessions += len(fold.sessions)

    def _changelog(self, number: int) -> Claims:
        claims = Claims(number, self._values, Tally())
        topic = self._names.changelog
        first, end = self._reader.watermarks(topic, number)
        for batch in self._reader.read(topic, number, first, end):
            for message in batch:
                if self._only is None or message.key() == self._only:
                    claims.add_record(message)
        return claims

    def _restore(self, claims: Claims, key: bytes, folded: int, value: bytes) -> None:
        known = claims.keys.get(key)
        if known is not None and known.best is not None:
            if known.best.folded > folded:
                self.skipped[BEYOND_LOG] += 1
                return
            if known.best.value == value and known.last_folded == folded and not known.is_outdated:
                return
        self._write(claims.partition, key, value)

    def _write(self, partition: int, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._writer.produce(self._names.changelog, value, key, partition, self._delivered)
                break
            except BufferError:
                self._writer.poll(0.1)
        self._writer.poll(0)
        self.written += 1

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error

    def _confirm(self) -> None:
        left = self._writer.flush(_CONFIRM_S)
        if left or self._failed is not None:
            msg = f"{left} records of the rebuild are unconfirmed ({self._failed}); run it again"
            raise DeliveryUnknownError(msg)
