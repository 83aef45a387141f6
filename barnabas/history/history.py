"""What a session was at an offset, found through the index: its own events are read, and nothing else of the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from barnabas.connection import Connection
from barnabas.history.index import Listed, PartitionIndex
from barnabas.history.indexer import OnProgress, extend
from barnabas.history.judge import Judge, empty_session
from barnabas.history.log import EventLog, read_record
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import Moment
from barnabas.reader import ReadRecord
from schemas.errors import DecodeError, HistoryLostError, SettingsError
from schemas.session import Session
from state.partition_fold import EPOCHS_KEPT

#: A session's own events between two snapshots of it: the most that is read for any offset that was asked before.
SNAPSHOT_EVENTS: Final = 32


class History:
    """The log of a deployment, looked at from any place. Blocking; for one thread at a time.

    Args:
        connection: The deployment.
        on_progress: Hears how far a long reading is.
    """

    def __init__(self, connection: Connection, on_progress: OnProgress | None = None) -> None:
        self.log = EventLog(connection.names.events, connection.client_config)
        self._connection = connection
        self._on_progress = on_progress
        self._indexes: dict[int, PartitionIndex] = {}
        self._folder: Path | None = None

    def session(self, key: bytes, at: Moment | None = None) -> Session:
        """Return a session as it is, or as it was at a moment: behind the record at an offset, or at a time.

        Raises:
            HistoryLostError: The log's beginning is gone.
            UnknownEventError: A newer version wrote one of its events.
            BrokerError: The log cannot be read.
        """
        partition = self._connection.partition_of(key)
        end = self.end_of(partition, at)
        last = empty_session(key)
        for last, _ in self.walk(key, end, end):  # noqa: B007 -- the last one is what is asked for
            pass
        return last

    def events(self, key: bytes, first: int = 0, end: int | None = None) -> Iterator[LoggedEvent]:
        """Yield a session's events from ``first`` to ``end`` (excluded), all unless given."""
        if end is None:
            end = self.end_of(self._connection.partition_of(key), None)
        for _, event in self.walk(key, first, end):
            if event is not None:
                yield event

    def page(
        self, key: bytes, first: int, end: int, limit: int, *, newest_first: bool = False
    ) -> tuple[list[LoggedEvent], bool]:
        """Return up to ``limit`` of a session's events from ``first`` to ``end`` (excluded); whether there are more.

        Raises as :meth:`session`.
        """
        partition = self._connection.partition_of(key)
        offsets = self.index(partition, end).offsets(key, max(first, self.log.bounds(partition).earliest), end)
        chosen = offsets[-limit:] if newest_first else offsets[:limit]
        if not chosen:
            return [], False
        events = [*self.events(key, chosen[0], chosen[-1] + 1)]
        return events[::-1] if newest_first else events, len(chosen) < len(offsets)

    def keys(self, partition: int, after: bytes, prefix: bytes, count: int) -> list[bytes]:
        """Return up to ``count`` keys that a partition's log has, behind ``after`` and with ``prefix``, ascending."""
        return self.index(partition).keys(after, prefix, count)

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a session's key."""
        return self._connection.partition_of(key)

    def follow(self, key: bytes, first: int) -> Iterator[ReadRecord]:
        """Yield a session's records as they come from ``first`` on, without end."""
        for messages in self.log.follow(self._connection.partition_of(key), first):
            yield from (read_record(message) for message in messages if message.key() == key)

    def records(self, key: bytes, first: int, end: int) -> Iterator[ReadRecord]:
        """Yield a session's records from ``first`` to ``end`` (excluded) as they lie there, unjudged."""
        partition = self._connection.partition_of(key)
        first = max(first, self.log.bounds(partition).earliest)
        offsets = self.index(partition, end).offsets(key, first, end)
        yield from map(read_record, self.log.fetch(partition, offsets))

    def walk(self, key: bytes, first: int, end: int) -> Iterator[tuple[Session, LoggedEvent | None]]:
        """Yield a session before ``first`` (with None), then after each of its events up to ``end`` (excluded)."""
        partition = self._connection.partition_of(key)
        index = self.index(partition, end)
        base, session = self._snapshot(index, key, first)
        judge = Judge(
            partition,
            self.log.topic,
            self._connection.codec,
            openings=index.openings_before(base + 1, EPOCHS_KEPT),
            load=lambda asked: session if asked == key else empty_session(asked),
        )
        offsets = index.offsets(key, base + 1, end)
        self._check_kept(index, partition, base, offsets)
        openings = iter(index.openings(base + 1, end))
        due = next(openings, None)
        taken: dict[int, bytes] = {}
        is_before = True
        try:
            for number, message in enumerate(self.log.fetch(partition, offsets), 1):
                while due is not None and due.offset < message.offset():
                    judge.opened(due)
                    due = next(openings, None)
                if is_before and message.offset() >= first:
                    is_before = False
                    yield judge.session(key), None
                event = judge.judge(message)
                if number % SNAPSHOT_EVENTS == 0:
                    taken[event.offset] = self._connection.codec.encode_session(judge.session(key))
                if not is_before:
                    yield judge.session(key), event
        finally:
            judge.close()
            if taken:
                index.keep(key, taken)
        if is_before:
            yield judge.session(key), None

    def sessions(self, limit: int) -> list[tuple[int, Listed]]:
        """Return the sessions that changed last, newest first, each with its partition; raises as :meth:`session`."""
        found = [
            (number, listed)
            for number in range(self._connection.partitions)
            for listed in self.index(number).sessions(limit)
        ]
        return sorted(found, key=lambda one: (-one[1].last_ms, one[1].key))[:limit]

    def judge(self, partition: int, first: int) -> Judge:
        """Return a judge of all of a partition's records from ``first`` on; sessions come from the index.

        Raises:
            HistoryLostError: The log's beginning is gone, and with it what judges the records behind it.
        """
        earliest = self.log.bounds(partition).earliest
        if first <= earliest:
            if earliest > 0:
                raise self._lost(partition, earliest)
            return Judge(partition, self.log.topic, self._connection.codec)
        openings = self.index(partition, first).openings_before(first, EPOCHS_KEPT)
        at = Moment(offset=first - 1)
        return Judge(
            partition,
            self.log.topic,
            self._connection.codec,
            openings=openings,
            load=lambda key: self.session(key, at),
        )

    def end_of(self, partition: int, at: Moment | None) -> int:
        """Return the offset behind a moment; the partition's end where there is none, or where it lies beyond."""
        bounds = self.log.bounds(partition)
        if at is None:
            return bounds.end
        if at.offset is not None:
            return min(at.offset + 1, bounds.end)
        return self.log.offset_at(partition, (at.time_ms or 0) + 1)

    def start_of(self, partition: int, at: Moment | None) -> int:
        """Return the offset at which a moment begins; the oldest kept where there is none."""
        bounds = self.log.bounds(partition)
        if at is None:
            return bounds.earliest
        if at.offset is not None:
            if at.offset > bounds.end:
                raise SettingsError(
                    f"offset {at.offset} is not written yet; partition {partition} ends at {bounds.end}"
                )
            return max(at.offset, bounds.earliest)
        return self.log.offset_at(partition, at.time_ms or 0)

    def index(self, partition: int, end: int | None = None) -> PartitionIndex:
        """Return a partition's index, brought up to ``end`` or to the partition's end."""
        bounds = self.log.bounds(partition)
        index = self._indexes.get(partition)
        if index is None:
            if self._folder is None:
                identity = self.log.identity().replace("/", "_")  # base64
                name = f"{self._connection.names.prefix}-{identity}"
                self._folder = self._connection.data_dir / "index" / name
            index = self._indexes[partition] = PartitionIndex(self._folder / f"{partition}.sqlite")
        end = bounds.end if end is None else min(end, bounds.end)
        extend(index, self.log, self._connection.codec, partition, bounds, end, self._on_progress)
        return index

    def stop(self) -> None:
        """End what another thread reads, at its next batch and with :class:`ClientError`; for any thread."""
        self.log.stop()

    def close(self) -> None:
        """Release connections and files."""
        self.log.close()
        for index in self._indexes.values():
            index.close()
        self._indexes.clear()

    def _snapshot(self, index: PartitionIndex, key: bytes, end: int) -> tuple[int, Session]:
        """Return the newest snapshot before ``end`` and the offset it reaches; an empty session and -1 for none."""
        found = index.snapshot(key, end)
        if found is not None:
            try:
                return found[0], self._connection.codec.decode_session(found[1])
            except DecodeError:
                pass  # torn, or another version's: the log has it all
        return -1, empty_session(key)

    def _check_kept(self, index: PartitionIndex, partition: int, base: int, offsets: list[int]) -> None:
        earliest = self.log.bounds(partition).earliest
        begins = index.place[0] if index.place is not None else 0
        if (base < 0 and begins > 0) or (offsets and offsets[0] < earliest):
            raise self._lost(partition, earliest)

    def _lost(self, partition: int, earliest: int) -> HistoryLostError:
        return HistoryLostError(
            f"{self.log.topic}-{partition} begins at offset {earliest}: older events are gone by retention, and "
            "with them what sessions were; retention.ms=-1 keeps them for ever"
        )
