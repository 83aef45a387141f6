"""Acknowledgement: which offset of a partition may be committed."""

from __future__ import annotations


class AckTracker:
    """Delivered records of one partition that are not done yet; the commit never passes the oldest of them.

    Order is *delivery* order: offsets may have holes (control records of a transactional producer, compaction),
    so nothing ever waits for ``offset + 1`` (hazard F1). Acknowledging twice is harmless (hazard S6).
    """

    __slots__ = ("_end", "_pending")

    def __init__(self, position: int) -> None:
        """Begin at ``position``: everything before it is committed."""
        self._pending: dict[int, float] = {}
        self._end = position

    def deliver(self, offset: int, at: float = 0.0) -> None:
        """Note a record as begun at ``at`` (``time.monotonic()``); offsets ascend."""
        self._pending[offset] = at
        self._end = offset + 1

    def ack(self, offset: int) -> None:
        """Note a record as done."""
        self._pending.pop(offset, None)

    @property
    def watermark(self) -> int:
        """The offset to commit: the oldest record that is not done, or the end of what was delivered."""
        return next(iter(self._pending), self._end)

    @property
    def pending(self) -> int:
        """How many records are begun and not done."""
        return len(self._pending)

    @property
    def oldest_since(self) -> float | None:
        """When the oldest record that is not done was begun, None where all are done."""
        return next(iter(self._pending.values()), None)
