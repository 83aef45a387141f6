"""Repair of the changelog after a foreign writer (hazard S2).

A worker that was taken for dead may wake and write a last record behind the new owner's. The owner sees it as a
hole in the offsets of its own records: it reads the hole, and sends the touched keys again where the foreign
record, now the key's last, is older than the table.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final

from schemas.errors import BarnabasError, StoreError
from state.changelog import ChangelogReader
from state.store import ChangelogRecord
from state.value import header_of
from state.write_path import WritePath

logger = logging.getLogger(__name__)

_DEADLINE_S: Final = 30.0
_AGAIN_S: Final = 5.0

#: Longest time that the broker may take to say where the changelog ends, in seconds.
_ASK_S: Final = 5.0

_THREADS: Final = 2


class Repair:
    """Repairs holes as they are found, beside the write path: one reading of a partition at a time, from the lowest.

    It has threads of its own: recovery must not wait behind it.
    """

    def __init__(self, reader: ChangelogReader) -> None:
        self._reader = reader
        self._write_path: WritePath | None = None
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="barnabas-repair")
        #: The lowest hole of each partition that no reading has begun with.
        self._holes: dict[int, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def attach(self, write_path: WritePath) -> None:
        """Take the write path, which is made with our :meth:`hole_found`."""
        self._write_path = write_path

    def hole_found(self, partition: int, first: int) -> None:
        """Repair what begins at changelog offset ``first``."""
        self._holes[partition] = min(first, self._holes.get(partition, first))
        if partition not in self._tasks:
            self._tasks[partition] = asyncio.create_task(self._repair(partition))

    def drop(self, partition: int) -> None:
        """End what runs for a partition: its next owner's recovery repairs it."""
        self._holes.pop(partition, None)
        task = self._tasks.pop(partition, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End everything; no hole may be told any more."""
        for partition in [*self._tasks]:
            self.drop(partition)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _repair(self, partition: int) -> None:
        stop = Event()
        try:
            while partition in self._holes:
                await self._repair_from(partition, self._holes.pop(partition), stop)
        finally:
            stop.set()
            if self._tasks.get(partition) is asyncio.current_task():  # else dropped, and perhaps begun anew
                del self._tasks[partition]

    async def _repair_from(self, partition: int, first: int, stop: Event) -> None:
        logger.warning("partition %d: a foreign record in the changelog at offset %d or behind it", partition, first)
        try:
            last = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._last_folded, partition, first, stop
            )
            if self._write_path is not None:
                for key, folded in last.items():
                    self._write_path.resend(partition, key, folded)
        except Exception as exc:  # whatever it is: a hole that is forgotten leaves a zombie's value the key's last
            is_known = isinstance(exc, BarnabasError)
            logger.warning(
                "partition %d: the hole at %d is read again: %s", partition, first, exc, exc_info=not is_known
            )
            self._holes[partition] = min(first, self._holes.get(partition, first))
            await asyncio.sleep(_AGAIN_S)

    def _last_folded(self, partition: int, first: int, stop: Event) -> dict[bytes, int]:
        """Return what each key's last record from ``first`` on is folded up to."""
        _, end = self._reader.highwaters([partition], timeout_s=_ASK_S)[partition]
        last: dict[bytes, int] = {}
        for _, records, _ in self._reader.read({partition: (first, end)}, deadline_s=_DEADLINE_S, stop=stop):
            last.update({record.key: _folded(record) for record in records})
        return last


def _folded(record: ChangelogRecord) -> int:
    """Return what a record is folded up to; -1 for a tombstone or foreign bytes, which anything of ours replaces."""
    try:
        return header_of(record.value).folded if record.value is not None else -1
    except StoreError:
        return -1
