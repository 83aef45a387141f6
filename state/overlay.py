"""Sessions that are folded but not yet confirmed: the write path's memory of one partition.

A value goes: fold → here → changelog record → the broker confirms → one RocksDB batch → acknowledged. So RocksDB
is never ahead of the changelog (hazard T1), and a reader asks here first.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.session import PartitionState, Session

#: Called on the event loop once the value that contains an event is confirmed and in RocksDB.
Receipt = Callable[[], None]


class Entry:
    """One key's newest value, how many of its records are under way, and who waits for it."""

    __slots__ = ("in_flight", "receipts", "value")

    def __init__(self) -> None:
        self.value: Session | PartitionState | None = None
        self.receipts: list[Receipt] = []
        self.in_flight = 0


class Overlay:
    """The unconfirmed values of one partition, for one ownership of it."""

    __slots__ = ("closed", "confirmed", "dirty", "entries", "expected", "frozen", "partition", "position", "urgent")

    def __init__(self, partition: int, position: int) -> None:
        self.partition = partition
        self.entries: dict[bytes, Entry] = {}
        #: Keys whose newest value was not sent yet; those in ``urgent`` do not wait.
        self.dirty: dict[bytes, None] = {}
        self.urgent: dict[bytes, None] = {}
        #: Values confirmed since the last batch, with what waits for them.
        self.confirmed: list[tuple[bytes, bytes, list[Receipt], Entry | None]] = []
        #: Changelog offset up to which RocksDB is complete; -1 for nothing yet.
        self.position = position
        #: Offset of our next record, if nobody else writes.
        self.expected = position + 1
        #: A foreign record lies in the changelog: the position stays until the next recovery (hazard S2).
        self.frozen = False
        self.closed = False

    def put(self, key: bytes, value: Session | PartitionState, *, urgent: bool) -> Entry:
        """Keep a newer value of a key until it is confirmed."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = Entry()
        entry.value = value
        self.dirty[key] = None
        if urgent:
            self.urgent[key] = None
        return entry

    def advance(self, offset: int) -> int | None:
        """Move the position over a confirmed record of ours.

        Returns:
            None where it was the next one; else the first offset of the hole before it. The position is frozen
            from the first hole on; later ones are told all the same, each has to be repaired.
        """
        expected = self.expected
        if offset < expected:
            return None
        self.expected = offset + 1
        if offset > expected:
            self.frozen = True
            return expected
        if not self.frozen:
            self.position = offset
        return None
