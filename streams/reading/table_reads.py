"""Reads of the session table for others: the newest folded values of the partitions whose epoch is open here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from faust.types import TP

from schemas.session import Session
from streams.environment import Environment
from streams.ownership import Ownership
from streams.reading.listing import Scan, listing
from streams.reading.views import ListAnswer, Selection, SessionAnswer, Standing
from topics.partitioner import partition_for

if TYPE_CHECKING:
    from streams.consumer import SessionConsumer

#: Sessions that one list looks at, whatever it asks for; the next page goes on.
BUDGET: Final = 1000


class Refusal(Enum):
    """Why a partition is not read here."""

    NOT_OWNED = "this worker does not own the partition"
    NOT_OPEN = "the partition is being recovered, or its epoch is over"


class TableReads:
    """Answers from the overlay and RocksDB; on the worker's event loop, so that nothing moves meanwhile."""

    def __init__(self, env: Environment, ownership: Ownership, consumer: Callable[[], SessionConsumer | None]) -> None:
        self._env = env
        self._ownership = ownership
        self._consumer = consumer

    def session(self, key: bytes) -> SessionAnswer | Refusal:
        """Return a session as folded so far."""
        partition = partition_for(key, self._env.partitions)
        standing = self._standing(partition, self._high_waters())
        if isinstance(standing, Refusal):
            return standing
        return SessionAnswer(standing=standing, session=self._env.write_path.find(partition, key))

    async def sessions(
        self, partitions: Iterable[int], selection: Selection, *, after: bytes, limit: int, budget: int = BUDGET
    ) -> ListAnswer:
        """Return the sessions behind the key ``after``, ascending; other work runs between its steps."""
        asked = set(partitions)
        scans = {partition: self._scan(partition, selection.prefix.encode()) for partition in asked}
        steps = listing(scans, selection, after=after, limit=limit, budget=budget)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                listed = end.value
                break
            await asyncio.sleep(0)
        waters = self._high_waters()
        found = (self._standing(partition, waters) for partition in sorted(asked - listed.lost))
        standings = [standing for standing in found if isinstance(standing, Standing)]
        open_ = {standing.partition for standing in standings}
        return ListAnswer(
            sessions=[summary for partition, summary in listed.sessions if partition in open_],
            reached=None if listed.reached is None else listed.reached.decode(),
            standings=standings,
            refused=sorted(asked - open_),
        )

    def _scan(self, partition: int, prefix: bytes) -> Scan:
        def scan(after: bytes, count: int) -> list[tuple[bytes, Session]] | None:
            if self._refusal(partition) is not None:
                return None
            return self._env.write_path.scan(partition, after, prefix, count)

        return scan

    def _refusal(self, partition: int) -> Refusal | None:
        if partition not in self._ownership.partitions or self._env.lease.is_over:
            return Refusal.NOT_OWNED
        return None if self._ownership.is_open(partition) else Refusal.NOT_OPEN

    def _standing(self, partition: int, waters: Mapping[TP, int]) -> Standing | Refusal:
        refusal, consumer = self._refusal(partition), self._consumer()
        if refusal is not None or consumer is None:
            return refusal or Refusal.NOT_OPEN
        place = TP(self._env.names.events, partition)
        cursor = consumer.cursors.get(place)
        if cursor is None:
            return Refusal.NOT_OPEN
        return Standing(
            partition=partition,
            worker=self._env.worker,
            epoch=self._ownership.partitions[partition].epoch,
            folded=cursor.handled,
            end=max(cursor.handled, waters.get(place, 0)),
        )

    def _high_waters(self) -> Mapping[TP, int]:
        consumer = self._consumer()
        return consumer.high_waters() if consumer is not None else {}
