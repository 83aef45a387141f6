"""The sessions read last, decoded: a turn reads its session several times, RocksDB and the codec once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from schemas.session import PartitionState, Session

#: Sessions kept, whatever the number of sessions in the table.
KEPT: Final = 4096

#: ... and their encoded size in all, in bytes: agents may give a session a memory of hundreds of KB.
KEPT_BYTES: Final = 32 * 1024 * 1024


class DecodedSessions:
    """A cache of confirmed sessions, bounded in number and in size, the least recently used leaving first."""

    def __init__(self, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._bytes = 0
        #: With each session's encoded size.
        self._sessions: OrderedDict[tuple[int, bytes], tuple[Session, int]] = OrderedDict()

    def get(self, partition: int, key: bytes) -> Session | None:
        """Return the session, None where it has to be read."""
        known = self._sessions.get((partition, key))
        if known is None:
            return None
        self._sessions.move_to_end((partition, key))
        return known[0]

    def put(self, partition: int, key: bytes, value: Session | PartitionState, size: int) -> None:
        """Keep the newest value of a key; ``size`` is about its encoded length in bytes."""
        if isinstance(value, Session):
            self._drop((partition, key))
            self._sessions[partition, key] = value, size
            self._bytes += size
            while len(self._sessions) > self._kept or self._bytes > self._kept_bytes:
                self._drop(next(iter(self._sessions)))

    def forget(self, partition: int) -> None:
        """Drop a partition that is no longer owned."""
        for place in [place for place in self._sessions if place[0] == partition]:
            self._drop(place)

    def _drop(self, place: tuple[int, bytes]) -> None:
        known = self._sessions.pop(place, None)
        if known is not None:
            self._bytes -= known[1]
