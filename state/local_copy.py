"""A partition's copy on this disk: whether it may be built upon, and up to where it is settled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from schemas.errors import StoreError
from state.changelog import ChangelogReader
from state.fold import FOLD_VERSION
from state.store import Applied, ChangelogRecord, LockedStoreError, SessionStore
from state.value import PARTITION_KEY, header_of

logger = logging.getLogger(__name__)

#: A local store older than half of the changelog's ``delete.retention.ms`` (7 days) may hold what the broker
#: has forgotten: it is wiped.
MAX_STORE_AGE_S: Final = 3.5 * 86_400


class Unsettled:
    """Keys whose last changelog record is not what the table holds (hazard S2): they pin the persisted position.

    Who owns the partition sends them again. A copy whose position lay behind such a record would never hear of it
    after a crash, and compaction would leave the older value alone.
    """

    __slots__ = ("_offsets",)

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}

    def position(self, applied: Applied, records: Sequence[ChangelogRecord], next_offset: int) -> int:
        """Note what a batch did; returns the position that may be persisted."""
        for key in applied.seen:
            self._offsets.pop(key, None)
        odd = applied.stale.keys() | applied.outdated
        if odd:
            self._offsets.update({record.key: record.offset for record in records if record.key in odd})
        return self._before(next_offset)

    def without(self, keys: Iterable[bytes], next_offset: int) -> int:
        """Forget keys that are settled in another way; returns the position that may be persisted."""
        for key in keys:
            self._offsets.pop(key, None)
        return self._before(next_offset)

    def _before(self, next_offset: int) -> int:
        return min(self._offsets.values(), default=next_offset) - 1


class LocalCopies:
    """Looks at copies before they are built upon, and wipes what cannot be."""

    def __init__(self, store: SessionStore, reader: ChangelogReader) -> None:
        self._store = store
        self._reader = reader

    def prepare(
        self, partitions: set[int], opening: Callable[[set[int]], None], opened: set[int], *, timeout_s: float = 30.0
    ) -> dict[int, tuple[int, int]]:
        """Open copies, wipe what cannot be built upon, and return what the others lack.

        Args:
            partitions: The copies to be brought up to date.
            opening: Opens copies.
            opened: What is opened: ``partitions``, and what is up to date.
            timeout_s: Longest time for the broker to say where the changelog ends.

        Returns:
            Of each of ``partitions`` the first changelog offset that it lacks, and the end.

        Raises:
            LockedStoreError: A database is held by another process, which a wipe would rob of it.
            RecoveryError: The broker did not answer.
        """
        self._wipe_if_old(partitions)
        self._open(opening, opened)
        self._wipe_if_outdated(partitions)
        return self._ranges(partitions, timeout_s)

    def _open(self, opening: Callable[[set[int]], None], partitions: set[int]) -> None:
        """Open by ``opening``; what cannot be opened is wiped first."""
        try:
            opening(partitions)
        except LockedStoreError:
            raise
        except StoreError as exc:
            logger.warning("%s: wiped, to be recovered from the changelog", exc)
            for partition in partitions - self._store.opened():
                self._store.wipe_partition(partition)
            opening(partitions)

    def _wipe_if_old(self, partitions: Iterable[int]) -> None:
        """Wipe what was found damaged, or lay unused for too long; the databases need not be open."""
        for partition in partitions:
            if self._store.is_marked_corrupt(partition):
                logger.warning("partition %d: local store is damaged: wiped", partition)
                self._store.wipe_partition(partition)
            age = self._store.age_s(partition)
            if age is not None and age > MAX_STORE_AGE_S:
                logger.warning("partition %d: local store is %.1f days old: wiped", partition, age / 86_400)
                self._store.wipe_partition(partition)

    def _wipe_if_outdated(self, partitions: Iterable[int]) -> None:
        """Wipe what another version folded."""
        for partition in partitions:
            raw = self._store.read(partition, PARTITION_KEY)
            if raw is not None and header_of(raw).fold_version != FOLD_VERSION:
                logger.warning("partition %d: local store is of another fold version: wiped", partition)
                self._store.wipe_partition(partition)

    def _ranges(self, partitions: Iterable[int], timeout_s: float) -> dict[int, tuple[int, int]]:
        """Return what each copy lacks, as ``(first, end)`` of the changelog; wipes what is ahead of it."""
        wanted = sorted(partitions)
        ranges: dict[int, tuple[int, int]] = {}
        for partition, (first, end) in (self._reader.highwaters(wanted, timeout_s=timeout_s) if wanted else {}).items():
            if first > 0:  # compaction leaves an earliest offset where it was
                logger.warning(
                    "partition %d: the changelog lost its records before offset %d; `barnabas doctor` tells what is "
                    "missing, `--rebuild` writes it back",
                    partition, first,
                )  # fmt: skip
            position = self._store.position(partition)
            if position >= end:  # the topic was made anew under this store
                logger.warning("partition %d: local store is ahead of the changelog: wiped", partition)
                self._store.wipe_partition(partition)
                position = -1
            ranges[partition] = (position + 1, end)
        return ranges
