"""Repair of the changelog after a foreign writer (hazard S2).

A worker that was taken for dead may wake and write a last record behind the new owner's. The owner sees it as a
hole in the offsets of its own records: it reads the hole, and sends the touched keys again where the foreign
record, now the key's last, is older than the table.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from schemas.errors import BarnabasError, StoreError
from state.changelog import ChangelogReader
from state.store import ChangelogRecord
from state.value import header_of
from state.write_path import WritePath

logger = logging.getLogger(__name__)

_DEADLINE_S: Final = 30.0
_AGAIN_S: Final = 5.0


class Repair:
    """Repairs holes as they are found, beside the write path."""

    def __init__(self, reader: ChangelogReader) -> None:
        self._reader = reader
        self._write_path: WritePath | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, write_path: WritePath) -> None:
        """Take the write path, which is made with our :meth:`hole_found`."""
        self._write_path = write_path

    def hole_found(self, partition: int, first: int) -> None:
        """Repair what begins at changelog offset ``first``."""
        logger.warning("partition %d: a foreign record in the changelog at offset %d or behind it", partition, first)
        task = asyncio.create_task(self._repair(partition, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repair(self, partition: int, first: int) -> None:
        try:
            last = await asyncio.to_thread(self._last_folded, partition, first)
        except BarnabasError as exc:
            logger.warning("partition %d: the hole at %d is read again: %s", partition, first, exc)
            asyncio.get_running_loop().call_later(_AGAIN_S, self.hole_found, partition, first)
            return
        if self._write_path is not None:
            for key, folded in last.items():
                self._write_path.resend(partition, key, folded)

    def _last_folded(self, partition: int, first: int) -> dict[bytes, int]:
        """Return what each key's last record from ``first`` on is folded up to."""
        _, end = self._reader.highwaters([partition])[partition]
        last: dict[bytes, int] = {}
        for _, records, _ in self._reader.read({partition: (first, end)}, deadline_s=_DEADLINE_S):
            last.update({record.key: _folded(record) for record in records})
        return last


def _folded(record: ChangelogRecord) -> int:
    """Return what a record is folded up to; -1 for a tombstone or foreign bytes, which anything of ours replaces."""
    try:
        return header_of(record.value).folded if record.value is not None else -1
    except StoreError:
        return -1
