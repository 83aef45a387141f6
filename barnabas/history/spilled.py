"""Sessions by key, any number of them: those used last in memory, the others in a temporary file."""

from __future__ import annotations

import sqlite3
from typing import Final

from schemas.errors import StoreError
from schemas.serdes import Codec
from schemas.session import Session

#: Some 20 MB of short talks.
_IN_MEMORY: Final = 2000


class SpilledSessions:
    """A cache that forgets nothing, of bounded memory; for one thread at a time.

    Args:
        codec: Of the values in the file.
        limit: How many are kept in memory.

    Raises:
        StoreError: From any method: there is no room for the file.
    """

    def __init__(self, codec: Codec, limit: int = _IN_MEMORY) -> None:
        self._codec = codec
        self._limit = limit
        self._recent: dict[bytes, Session] = {}  # the last one used is at the end
        self._file: sqlite3.Connection | None = None

    def __setitem__(self, key: bytes, session: Session) -> None:
        self._recent.pop(key, None)
        self._recent[key] = session
        if len(self._recent) > self._limit:
            oldest = next(iter(self._recent))
            value = self._codec.encode_session(self._recent.pop(oldest))
            self._execute("INSERT OR REPLACE INTO spilled VALUES (?, ?)", (oldest, value))

    def get(self, key: bytes) -> Session | None:
        """Return a session; None where it was never put here."""
        session = self._recent.pop(key, None)
        if session is None and self._file is not None:
            found = self._execute("SELECT value FROM spilled WHERE session = ?", (key,))
            session = self._codec.decode_session(found[0][0]) if found else None
        if session is not None:
            self[key] = session
        return session

    @property
    def in_memory(self) -> int:
        """How many take memory now."""
        return len(self._recent)

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _execute(self, statement: str, values: tuple[bytes, ...]) -> list[tuple[bytes]]:
        try:
            if self._file is None:
                # Without a name: SQLite makes the file where temporary files go, and removes it with the connection.
                self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
                self._file.execute("PRAGMA synchronous = OFF")
                self._file.execute("PRAGMA journal_mode = OFF")
                self._file.execute("CREATE TABLE spilled (session BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
            return self._file.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"sessions cannot be put aside in a temporary file: {error}; make room") from error
