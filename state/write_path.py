"""The table's write path: fold into the overlay, changelog first, RocksDB when the broker has confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from schemas.errors import StoreError
from schemas.session import PartitionState, Session
from state.decoded import DecodedSessions
from state.overlay import Entry, Overlay, Receipt
from state.store import SessionStore
from state.value import PARTITION_KEY, ValueCodec, header_of

#: A value whose turn still runs may wait this long for the next one of its session; its event is simply not
#: acknowledged meanwhile. Saves a changelog record a turn under load.
LAZY_FLUSH_S: Final = 1.0

#: Pause before changelog records whose delivery failed are sent again; twice as long each time that nothing came of
#: it, up to the second.
RETRY_S: Final = 0.2
MAX_RETRY_S: Final = 2.0

#: ``(error, offset)`` of a delivery, on the event loop.
OnDelivery = Callable[[BaseException | None, int], None]


class SendChangelog(Protocol):
    """Sends one record to the changelog and reports its delivery on the event loop."""

    def __call__(self, partition: int, key: bytes, value: bytes, on_delivery: OnDelivery) -> None:
        """Never blocks and never raises."""


class WritePath:
    """Reads and writes sessions of the owned partitions. The projector is its only writer."""

    def __init__(
        self,
        store: SessionStore,
        codec: ValueCodec,
        send: SendChangelog,
        *,
        on_foreign_record: Callable[[int, int], None],
        on_store_failure: Callable[[StoreError], None],
        on_closed: Callable[[int], None] = lambda _partition: None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the collaborators.

        ``on_foreign_record(partition, first_offset)`` reports a hole (hazard S2); ``on_store_failure(error)`` a
        store that cannot be read or written (corrupt, disk full): the worker has to end, its next start recovers;
        ``on_closed(partition)`` that a partition went. While ``may_write`` says no, nothing that failed is sent again.
        """
        self._store = store
        self._codec = codec
        self._send = send
        self._on_foreign_record = on_foreign_record
        self._on_store_failure = on_store_failure
        self._overlays: dict[int, Overlay] = {}
        self._decoded = DecodedSessions()
        self._lazy_timer: asyncio.TimerHandle | None = None
        self._on_closed = on_closed
        self._may_write = may_write
        self._retry_timer: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_S
        #: How many deliveries to the changelog failed so far.
        self.failed = 0
        #: Keys to be resent whose record failed, and what it must be folded beyond.
        self._resends: dict[tuple[int, bytes], int] = {}
        self._settling = False

    # -- Ownership

    def open_partition(self, partition: int) -> PartitionState:
        """Begin with what recovery left in RocksDB; returns the partition's own record."""
        self._overlays[partition] = Overlay(partition, self._store.position(partition))
        raw = self._store.read(partition, PARTITION_KEY)
        return self._codec.decode_partition(raw) if raw is not None else PartitionState(partition=partition)

    def close_partition(self, partition: int) -> None:
        """Forget what is unconfirmed: the next owner folds it again. Late deliveries change nothing."""
        overlay = self._overlays.pop(partition, None)
        if overlay is not None:
            overlay.closed = True
        self._resends = {place: folded for place, folded in self._resends.items() if place[0] != partition}
        self._decoded.forget(partition)
        self._on_closed(partition)

    @property
    def unconfirmed(self) -> int:
        """How many keys wait for the broker, over all partitions."""
        return sum(len(overlay.entries) for overlay in self._overlays.values())

    # -- Reading

    def load(self, partition: int, key: bytes) -> Session:
        """Return the session as folded so far, an empty one if it is new."""
        entry = self._overlays[partition].entries.get(key)
        if entry is not None and isinstance(entry.value, Session):
            return entry.value
        session = self._decoded.get(partition, key)
        if session is None:
            raw = self._store.read(partition, key)
            session = self._codec.decode_session(raw) if raw is not None else Session(session_id=key.decode())
            self._decoded.put(partition, key, session, len(raw or b""))
        return session

    def find(self, partition: int, key: bytes) -> Session | None:
        """Return the session as folded so far, None where there is none; displaces nothing that turns are reading."""
        entry = self._overlays[partition].entries.get(key)
        if entry is not None and isinstance(entry.value, Session):
            return entry.value
        session = self._decoded.get(partition, key)
        if session is not None:
            return session if session.folded >= 0 else None
        raw = self._store.read(partition, key)
        return self._codec.decode_session(raw) if raw is not None else None

    def scan(self, partition: int, after: bytes, prefix: bytes, count: int) -> list[tuple[bytes, Session]]:
        """Return up to ``count`` sessions as folded so far, in the order of their keys.

        Args:
            partition: An open one.
            after: The last key of the page before; empty to begin.
            prefix: Only keys that begin with it.
            count: The most that are read and decoded; fewer come back only where there are no more.
        """
        stored = self._store.range(partition, after, prefix, count)
        beyond = stored[-1][0] if len(stored) == count else None
        newest = {
            key: entry.value
            for key, entry in self._overlays[partition].entries.items()
            if isinstance(entry.value, Session)
            and key > after
            and key.startswith(prefix)
            and (beyond is None or key <= beyond)
        }
        raws = dict(stored)
        return [
            (key, newest[key] if key in newest else self._codec.decode_session(raws[key]))
            for key in sorted(raws.keys() | newest.keys())[:count]
        ]

    # -- Writing

    def put(
        self, partition: int, key: bytes, value: Session | PartitionState, receipt: Receipt, *, urgent: bool
    ) -> None:
        """Fold result in; ``receipt`` is called once it is confirmed and in RocksDB."""
        self._overlays[partition].put(key, value, urgent=urgent).receipts.append(receipt)

    def when_confirmed(self, partition: int, key: bytes, receipt: Receipt) -> None:
        """Call ``receipt`` when the key's newest value is confirmed: at once if nothing of it is under way."""
        overlay = self._overlays[partition]
        entry = overlay.entries.get(key)
        if entry is None:
            receipt()
            return
        entry.receipts.append(receipt)
        if key not in overlay.dirty:
            overlay.dirty[key] = None  # its record is under way without this receipt: confirm once more
        overlay.urgent[key] = None

    def flush(self, partition: int) -> None:
        """Send the urgent values now; the others follow within ``LAZY_FLUSH_S``."""
        overlay = self._overlays[partition]
        if overlay.urgent:
            urgent, overlay.urgent = overlay.urgent, {}
            for key in urgent:
                self._send_value(overlay, key)
        if overlay.dirty and self._lazy_timer is None:
            self._lazy_timer = asyncio.get_running_loop().call_later(LAZY_FLUSH_S, self.flush_all)

    def flush_all(self) -> None:
        """Send every value that was not sent yet."""
        if self._lazy_timer is not None:
            self._lazy_timer.cancel()
            self._lazy_timer = None
        for overlay in self._overlays.values():
            overlay.urgent = {}
            for key in [*overlay.dirty]:
                self._send_value(overlay, key)

    def resend(self, partition: int, key: bytes, folded: int) -> None:
        """Send a key's newest value again if it is folded further than ``folded`` (a foreign record's).

        Where the store cannot be read its failure is reported, and the key is kept for another attempt.
        """
        overlay = self._overlays.get(partition)
        if overlay is None:
            return
        entry = overlay.entries.get(key)
        if entry is not None:
            overlay.dirty[key] = None
            self._send_value(overlay, key)
            return
        try:
            raw = self._store.read(partition, key)
            is_newer = raw is not None and header_of(raw).folded > folded
        except StoreError as exc:
            self._resends[partition, key] = folded
            self._on_store_failure(exc)
            return
        if raw is not None and is_newer:
            self._send(partition, key, raw, partial(self._delivered, overlay, key, raw, [], None))

    def _send_value(self, overlay: Overlay, key: bytes) -> None:
        overlay.dirty.pop(key, None)
        entry = overlay.entries.get(key)
        if entry is None or entry.value is None:
            return
        receipts, entry.receipts = entry.receipts, []
        entry.in_flight += 1
        value = self._codec.encode(entry.value)
        self._send(overlay.partition, key, value, partial(self._delivered, overlay, key, value, receipts, entry))

    def _delivered(  # noqa: PLR0917 -- bound with partial, once a record
        self,
        overlay: Overlay,
        key: bytes,
        value: bytes,
        receipts: list[Receipt],
        entry: Entry | None,
        error: BaseException | None,
        offset: int,
    ) -> None:
        if overlay.closed:
            return
        if error is not None:
            # Unknown, not failed; a value sent twice is harmless, one that is missing is not.
            self.failed += 1
            if entry is not None:
                entry.in_flight -= 1
                entry.receipts[:0] = receipts
                overlay.dirty[key] = None
            else:
                self._resends[overlay.partition, key] = header_of(value).folded - 1
            self._retry_soon()
            return
        self._retry_s = RETRY_S
        hole = overlay.advance(offset)
        if hole is not None:
            self._on_foreign_record(overlay.partition, hole)
        overlay.confirmed.append((key, value, receipts, entry))
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _retry_soon(self) -> None:
        """One timer for all: an outage fails thousands of records at once, and each encodes its value again."""
        if self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(self._retry_s, self._retry)
            self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)

    def _retry(self) -> None:
        self._retry_timer = None
        if not self._may_write():
            if self._resends or any(overlay.dirty for overlay in self._overlays.values()):
                self._retry_soon()
            return
        resends, self._resends = self._resends, {}
        for (partition, key), folded in resends.items():
            self.resend(partition, key, folded)
        self.flush_all()

    def _settle(self) -> None:
        """Write what was confirmed since the last time: one RocksDB batch a partition, then the receipts."""
        self._settling = False
        for overlay in [*self._overlays.values()]:
            confirmed, overlay.confirmed = overlay.confirmed, []
            if not confirmed:
                continue
            values = {key: value for key, value, _, _ in confirmed}
            try:
                self._store.write(overlay.partition, values, None if overlay.frozen else overlay.position)
            except StoreError as exc:
                overlay.closed = True  # acknowledges nothing any more
                self._on_store_failure(exc)
                continue
            for key, value, receipts, entry in confirmed:
                if entry is not None:
                    entry.in_flight -= 1
                    if entry.in_flight <= 0 and key not in overlay.dirty and entry.value is not None:
                        del overlay.entries[key]
                        self._decoded.put(overlay.partition, key, entry.value, len(value))
                for receipt in receipts:
                    receipt()
