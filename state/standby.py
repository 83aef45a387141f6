"""Standby replicas: copies of partitions that another worker owns, kept by tailing their changelog.

A takeover then reads only what came since. The rules are recovery's: values replace older ones only, the position
is contiguous. The thread ends before recovery touches the store, so that a partition has one writer at any time.
"""

from __future__ import annotations

import asyncio
import logging
from threading import Event
from typing import Final

from schemas.errors import AccessError, RecoveryError, StoreError
from state.changelog import ChangelogReader
from state.local_copy import LocalCopies, Unsettled
from state.own_thread import in_own_thread
from state.store import CorruptStoreError, SessionStore

logger = logging.getLogger(__name__)

#: Pause before the tail is begun again after an error, in seconds.
_AGAIN_S: Final = 1.0


class Standbys:
    """Follows partitions in one thread, from :meth:`follow` until :meth:`release`."""

    def __init__(self, store: SessionStore, reader: ChangelogReader) -> None:
        self._store = store
        self._reader = reader
        self._copies = LocalCopies(store, reader)
        self._stop = Event()
        self._running: asyncio.Future[None] | None = None
        self._is_closed = False
        #: Changelog records that each followed partition's copy lacks.
        self.lag: dict[int, int] = {}
        #: Records read since the worker began.
        self.records = 0

    @property
    def partitions(self) -> frozenset[int]:
        """The followed partitions."""
        return frozenset(self.lag)

    def follow(self, partitions: set[int]) -> None:
        """Keep copies of these from now on; what was followed before has been released. Nothing once it is closed."""
        if self._is_closed:
            return
        self._stop = Event()
        self.lag = dict.fromkeys(sorted(partitions), 0)
        if partitions:
            logger.info("keeps copies of %d partitions", len(partitions))
            self._running = in_own_thread("barnabas-standby", self._follow, partitions, self._stop)

    async def release(self) -> None:
        """End the thread; each copy stays where it is, with its position.

        A release that is cancelled is made good by the next one: nobody may write while the thread still runs.
        """
        self._stop.set()
        if self._running is not None:
            await asyncio.wait({self._running})
            self._running = None
        self.lag = {}

    async def close(self) -> None:
        """Release, for good: a rebalance that is still being settled begins nothing more."""
        self._is_closed = True
        await self.release()

    def _follow(self, partitions: set[int], stop: Event) -> None:
        while not stop.is_set():
            try:
                self._tail(partitions, stop)
            except CorruptStoreError as exc:
                logger.warning("%s: the copy is made anew", exc)
                self._store.wipe_partition(exc.partition)
            except (AccessError, RecoveryError, StoreError) as exc:
                logger.warning("the copies stand still: %s", exc)
                stop.wait(_AGAIN_S)
            except Exception:
                logger.exception("the copies stand still")
                stop.wait(_AGAIN_S)

    def _tail(self, partitions: set[int], stop: Event) -> None:
        ranges = self._copies.prepare(partitions, self._store.follow, partitions)
        self.lag.update({partition: end - first for partition, (first, end) in ranges.items()})
        unsettled = {partition: Unsettled() for partition in partitions}
        for partition, records, end in self._reader.tail({p: first for p, (first, _) in ranges.items()}, stop):
            if stop.is_set():
                return
            next_offset = records[-1].offset + 1
            applied = self._store.apply(partition, records, None)
            # Behind the values: a crash in between reads again.
            self._store.write(partition, {}, unsettled[partition].position(applied, records, next_offset))
            self.records += len(records)
            self.lag[partition] = max(end - next_offset, 0)
