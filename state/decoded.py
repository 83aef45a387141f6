"""The sessions read last, decoded: a turn reads its session several times, RocksDB and the codec once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from schemas.session import PartitionState, Session

#: Sessions kept; at a few KB each some 20 MB, whatever the number of sessions in the table.
KEPT: Final = 4096


class DecodedSessions:
    """A bounded cache of confirmed sessions, the least recently used leaving first."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._sessions: OrderedDict[tuple[int, bytes], Session] = OrderedDict()

    def get(self, partition: int, key: bytes) -> Session | None:
        """Return the session, None where it has to be read."""
        session = self._sessions.get((partition, key))
        if session is not None:
            self._sessions.move_to_end((partition, key))
        return session

    def put(self, partition: int, key: bytes, value: Session | PartitionState) -> None:
        """Keep the newest value of a key."""
        if isinstance(value, Session):
            self._sessions[partition, key] = value
            self._sessions.move_to_end((partition, key))
            if len(self._sessions) > self._kept:
                self._sessions.popitem(last=False)

    def forget(self, partition: int) -> None:
        """Drop a partition that is no longer owned."""
        for place in [place for place in self._sessions if place[0] == partition]:
            del self._sessions[place]
