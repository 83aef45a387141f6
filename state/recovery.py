"""Recovery: bring the owned partitions of the table up to their changelog before anything reads them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from schemas.errors import RecoveryError, StoreError
from state.changelog import ChangelogReader, ChangelogUnreadableError
from state.fold import FOLD_VERSION
from state.store import Applied, CorruptStoreError, SessionStore
from state.value import PARTITION_KEY, header_of

logger = logging.getLogger(__name__)

#: A local store older than half of the changelog's ``delete.retention.ms`` (7 days) may hold what the broker
#: has forgotten: it is wiped.
MAX_STORE_AGE_S: Final = 3.5 * 86_400


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
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Take the collaborators; ``on_progress(records_read, records_total)`` is called from a thread."""
        self._store = store
        self._reader = reader
        self._deadline_s = deadline_s
        self._on_progress = on_progress

    async def run(self, owned: set[int], fresh: set[int]) -> Recovered:
        """Own exactly ``owned`` and recover ``fresh``, the ones that were not kept over the rebalance.

        Raises:
            RecoveryError: Not done within the deadline; the local store of ``fresh`` is wiped, so that the next
                start begins anew.
        """
        stop = Event()
        running = asyncio.get_running_loop().run_in_executor(None, self._run, owned, fresh, stop)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait({running})  # the next recovery uses the same store
            raise

    def _run(self, owned: set[int], fresh: set[int], stop: Event) -> Recovered:
        wiped: set[int] = set()
        while True:
            try:
                return self._run_once(owned, fresh, stop)
            except CorruptStoreError as exc:
                if exc.partition in wiped or exc.partition not in fresh:
                    raise
                logger.warning("%s: wiped, to be recovered from the changelog", exc)
                wiped.add(exc.partition)
                self._store.wipe_partition(exc.partition)

    def _run_once(self, owned: set[int], fresh: set[int], stop: Event) -> Recovered:
        began = time.monotonic()
        for partition in fresh:
            self._wipe_if_old(partition)
        self._open(owned)
        for partition in fresh:
            self._wipe_if_outdated(partition)
        result = Recovered()
        ranges = self._ranges(fresh)
        total = sum(end - first for first, end in ranges.values())
        outdated: dict[int, set[bytes]] = {}
        try:
            for partition, records, next_offset in self._reader.read(ranges, deadline_s=self._deadline_s, stop=stop):
                self._note(result, outdated, partition, self._store.apply(partition, records, next_offset - 1))
                result.records += len(records)
                if self._on_progress is not None:
                    self._on_progress(result.records, total)
        except RecoveryError as exc:
            self._give_up(exc, fresh)
            raise
        for partition, (_, end) in ranges.items():
            if self._store.position(partition) != end - 1 and not stop.is_set():
                self._store.write(partition, {}, end - 1)
            if outdated.get(partition) or self._store.read(partition, PARTITION_KEY) is None:
                result.refold.add(partition)
        result.seconds = time.monotonic() - began
        logger.info(
            "recovered %d partitions: %d changelog records in %.2f s", len(fresh), result.records, result.seconds
        )
        return result

    def _ranges(self, fresh: set[int]) -> dict[int, tuple[int, int]]:
        ranges: dict[int, tuple[int, int]] = {}
        for partition, (_, end) in (self._reader.highwaters(sorted(fresh)) if fresh else {}).items():
            position = self._store.position(partition)
            if position >= end:  # the topic was made anew under this store
                logger.warning("partition %d: local store is ahead of the changelog: wiped", partition)
                self._store.wipe_partition(partition)
                position = -1
            ranges[partition] = (position + 1, end)
        return ranges

    def _give_up(self, error: RecoveryError, fresh: set[int]) -> None:
        """Wipe what could not be recovered in time: the next start begins anew. A client's failure wipes nothing."""
        if not isinstance(error, ChangelogUnreadableError):
            for partition in fresh:
                self._store.wipe_partition(partition)

    def _open(self, owned: set[int]) -> None:
        try:
            self._store.own(owned)
        except StoreError as exc:
            if "lock" in str(exc).lower():
                raise
            logger.warning("%s: wiped, to be recovered from the changelog", exc)
            for partition in owned - self._store.opened():
                self._store.wipe_partition(partition)
            self._store.own(owned)

    def _wipe_if_old(self, partition: int) -> None:
        if self._store.is_marked_corrupt(partition):
            logger.warning("partition %d: local store is damaged: wiped", partition)
            self._store.wipe_partition(partition)
        age = self._store.age_s(partition)
        if age is not None and age > MAX_STORE_AGE_S:
            logger.warning("partition %d: local store is %.1f days old: wiped", partition, age / 86_400)
            self._store.wipe_partition(partition)

    def _wipe_if_outdated(self, partition: int) -> None:
        raw = self._store.read(partition, PARTITION_KEY)
        if raw is not None and header_of(raw).fold_version != FOLD_VERSION:
            logger.warning("partition %d: local store is of another fold version: wiped", partition)
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
