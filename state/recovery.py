"""Recovery: bring the owned partitions of the table up to their changelog before anything reads them."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from schemas.errors import RecoveryError
from state.changelog import ChangelogReader, ChangelogUnreadableError
from state.local_copy import LocalCopies, Unsettled
from state.own_thread import in_own_thread
from state.store import Applied, CorruptStoreError, SessionStore
from state.value import PARTITION_KEY

logger = logging.getLogger(__name__)

#: How often progress is logged, in seconds.
LOG_EVERY_S: Final = 5.0

#: Longest time that the broker may take to say where the changelog ends, in seconds.
_ASK_S: Final = 30.0


@dataclass(slots=True)
class RecoveryProgress:
    """Where the newest recovery stands; written by its thread, read by any.

    Attributes:
        number: How many recoveries have begun.
        partitions: How many it recovers.
        records: Changelog offsets it has to read; compaction has taken some of them.
        records_read: How many records it has read.
    """

    number: int = 0
    partitions: int = 0
    records: int = 0
    records_read: int = 0
    is_running: bool = False
    _began: float = 0.0
    _seconds: float = 0.0
    _logged: float = 0.0

    def begin(self, partitions: int) -> None:
        """Note that a recovery begins."""
        self.number += 1
        self.partitions, self.records, self.records_read = partitions, 0, 0
        self._began = self._logged = time.monotonic()
        self.is_running = True

    def advance(self, records: int) -> None:
        """Count what was read; log every few seconds."""
        self.records_read += records
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            rate = self.records_read / (now - self._began)
            left_s = max(self.records - self.records_read, 0) / rate if rate else 0.0
            logger.info(
                "recovering %d partitions: %d of %d changelog records, %.0f/s, %.0f s left",
                self.partitions, self.records_read, self.records, rate, left_s,
            )  # fmt: skip

    def end(self) -> None:
        """Note that it is over, done or not."""
        self._seconds, self.is_running = time.monotonic() - self._began, False

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._began if self.is_running else self._seconds


@dataclass(slots=True)
class Recovered:
    """What a recovery did.

    Attributes:
        records: Changelog records read.
        seconds: Wall time.
        stale: ``{partition: {key: folded}}`` of keys whose last record in the changelog is older than the
            table; they have to be sent again (hazard S2).
        refold: Partitions whose table is unusable (lost, or of another fold version): the projector has to
            read their events from the beginning.
    """

    records: int = 0
    seconds: float = 0.0
    stale: dict[int, dict[bytes, int]] = field(default_factory=dict)
    refold: set[int] = field(default_factory=set)


class Recovery:
    """Recovers partitions from the changelog into RocksDB, within a deadline."""

    def __init__(
        self,
        store: SessionStore,
        reader: ChangelogReader,
        *,
        deadline_s: float,
    ) -> None:
        """Take the collaborators, and the longest time that a recovery may take."""
        self._store = store
        self._reader = reader
        self._copies = LocalCopies(store, reader)
        self._deadline_s = deadline_s
        #: Of the running recovery, or of the last one.
        self.progress = RecoveryProgress()

    async def run(self, owned: set[int], fresh: set[int]) -> Recovered:
        """Own exactly ``owned`` and recover ``fresh``, the ones that were not kept over the rebalance.

        Raises:
            RecoveryError: Not done within the deadline; the local store of ``fresh`` is wiped, so that the next
                start begins anew.
        """
        stop = Event()
        running = in_own_thread("barnabas-recovery", self._run, owned, fresh, stop)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait({running})  # the next recovery uses the same store
            raise

    def _run(self, owned: set[int], fresh: set[int], stop: Event) -> Recovered:
        wiped: set[int] = set()
        self.progress.begin(len(fresh))
        try:
            while True:
                try:
                    return self._run_once(owned, fresh, stop)
                except CorruptStoreError as exc:
                    if exc.partition in wiped or exc.partition not in fresh:
                        raise
                    logger.warning("%s: wiped, to be recovered from the changelog", exc)
                    wiped.add(exc.partition)
                    self._store.wipe_partition(exc.partition)
        finally:
            self.progress.end()

    def _run_once(self, owned: set[int], fresh: set[int], stop: Event) -> Recovered:
        began = time.monotonic()
        give_up = began + self._deadline_s
        result = Recovered()
        ranges = self._copies.prepare(fresh, self._store.own, owned, timeout_s=min(self._deadline_s, _ASK_S))
        self.progress.records, self.progress.records_read = sum(end - first for first, end in ranges.values()), 0
        outdated: dict[int, set[bytes]] = {}
        unsettled = {partition: Unsettled() for partition in fresh}
        try:
            left_s = give_up - time.monotonic()
            for partition, records, next_offset in self._reader.read(ranges, deadline_s=left_s, stop=stop):
                applied = self._store.apply(partition, records, None)
                self._note(result, outdated, partition, applied)
                self._store.write(partition, {}, unsettled[partition].position(applied, records, next_offset))
                result.records += len(records)
                self.progress.advance(len(records))
        except RecoveryError as exc:
            self._give_up(exc, fresh)
            raise
        for partition in () if stop.is_set() else fresh:  # interrupted: nothing can be said
            if outdated.get(partition) or self._store.read(partition, PARTITION_KEY) is None:
                result.refold.add(partition)  # settles what is outdated: these keys may never come again
                position = unsettled[partition].without(outdated.get(partition, ()), ranges[partition][1])
                self._store.write(partition, {}, position)
        result.seconds = time.monotonic() - began
        logger.info(
            "recovered %d partitions: %d changelog records in %.2f s", len(fresh), result.records, result.seconds
        )
        return result

    def _give_up(self, error: RecoveryError, fresh: set[int]) -> None:
        """Wipe what could not be recovered in time: the next start begins anew. A client's failure wipes nothing."""
        if not isinstance(error, ChangelogUnreadableError):
            for partition in fresh:
                self._store.wipe_partition(partition)

    @staticmethod
    def _note(result: Recovered, outdated: dict[int, set[bytes]], partition: int, applied: Applied) -> None:
        stale = result.stale.setdefault(partition, {})
        old = outdated.setdefault(partition, set())
        for key in applied.seen:  # a later batch may hold the key's right record
            stale.pop(key, None)
            old.discard(key)
        stale.update(applied.stale)
        old.update(applied.outdated)
