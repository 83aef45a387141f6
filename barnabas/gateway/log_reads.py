"""Reads from the event log: events, transcripts, sessions as they were; and as they are, while nobody owns them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from barnabas.connection import Connection
from barnabas.gateway.freshness import Freshness
from barnabas.history.archive import Archive
from barnabas.history.history import History
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import Moment
from barnabas.history.transcript import TranscriptTurn, transcript_turns
from schemas.errors import SessionUnavailableError
from schemas.events import SessionErased
from schemas.session import Session
from streams.reading.listing import Scan, listing
from streams.reading.views import Selection, SessionState, SessionSummary, state_of

#: Readers of the log, each with the partitions whose number leaves the same rest, and a thread.
_ARCHIVES: Final = 4

#: Longest wait for the log, in seconds. The first question about a partition reads all its keys; that goes on, and the
#: next one finds it done.
PATIENCE_S: Final = 10.0

#: Sessions folded for one page of a list: each takes some milliseconds.
_LISTED: Final = 100

_SCANS_KEPT: Final = 10_000

_Result = TypeVar("_Result")


class _Scanned(NamedTuple):
    """How far a session's events were looked through for its erasure, and where that lies; -1 for none."""

    upto: int = 0
    erased: int = -1


class _Known(NamedTuple):
    """A session at the log's end, and where its last erasure lies: nothing before it is shown any more."""

    session: Session
    end: int
    erased: int

    @property
    def is_there(self) -> bool:
        return _is_there(self.session)


class LogPage(NamedTuple):
    """Some of a session's events; ``following`` is where the next page begins, None where there is none."""

    events: list[LoggedEvent]
    following: int | None
    has_more: bool


class LogReads:
    """Everything that is folded from the log, in threads of its own; None for a session that is not there.

    Every method raises :class:`SessionUnavailableError` where the log takes too long, :class:`HistoryLostError` where
    its beginning is gone and :class:`BrokerError` where it cannot be read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._archives = [Archive(connection) for _ in range(min(_ARCHIVES, connection.partitions))]
        #: By archive, since its thread alone touches them.
        self._scans: list[OrderedDict[bytes, _Scanned]] = [OrderedDict() for _ in self._archives]

    async def close(self) -> None:
        """End what is being read."""
        await asyncio.gather(*(archive.close() for archive in self._archives))

    async def session(self, key: bytes, at: Moment | None = None) -> tuple[Session | None, Freshness]:
        """Return a session as it is, or as it was at a moment; one that was erased since is not there."""
        partition = self._connection.partition_of(key)

        def ask(history: History) -> tuple[Session | None, Freshness]:
            end = history.end_of(partition, None)
            if at is None:
                found = _session(history, key, end)
                return found if found.folded >= 0 else None, Freshness.of_log(partition, end, end)
            known, place = self._known(history, key), history.end_of(partition, at)
            was = _session(history, key, place)
            is_shown = known.is_there and place > known.erased and _is_there(was)
            return was if is_shown else None, Freshness.of_log(partition, place, known.end)

        return await self._ask(partition, ask)

    async def events(
        self, key: bytes, *, place: int | None, limit: int, newest_first: bool
    ) -> tuple[LogPage | None, Freshness]:
        """Return a page of a session's events: from the offset ``place`` on, or those before it, newest first."""
        partition = self._connection.partition_of(key)

        def ask(history: History) -> tuple[LogPage | None, Freshness]:
            known = self._known(history, key)
            freshness = Freshness.of_log(partition, known.end, known.end)
            if not known.is_there:
                return None, freshness
            first, end = max(0, known.erased), known.end
            following: int | None
            if newest_first:
                end = end if place is None else min(end, place)
                events, has_more = history.page(key, first, end, limit, newest_first=True)
                following = events[-1].offset if has_more else None
            else:
                first = max(first, place or 0)
                events, has_more = history.page(key, first, end, limit)
                following = events[-1].offset + 1 if has_more else max(first, end)
            return LogPage(events, following, has_more), freshness

        return await self._ask(partition, ask)

    async def transcript(self, key: bytes) -> tuple[list[TranscriptTurn] | None, Freshness]:
        """Return every turn that counts, oldest first."""
        partition = self._connection.partition_of(key)

        def ask(history: History) -> tuple[list[TranscriptTurn] | None, Freshness]:
            known = self._known(history, key)
            freshness = Freshness.of_log(partition, known.end, known.end)
            if not known.is_there:
                return None, freshness
            return transcript_turns(history.events(key, max(0, known.erased), known.end)), freshness

        return await self._ask(partition, ask)

    async def sessions(
        self, partition: int, selection: Selection, *, after: bytes, limit: int
    ) -> tuple[list[SessionSummary], bytes | None, Freshness]:
        """Return a partition's sessions behind the key ``after``, and the key up to which it was looked through."""
        prefix = selection.prefix.encode()

        def ask(history: History) -> tuple[list[SessionSummary], bytes | None, Freshness]:
            end = history.end_of(partition, None)

            def scan(behind: bytes, count: int) -> list[tuple[bytes, Session]]:
                return [(key, _session(history, key, end)) for key in history.keys(partition, behind, prefix, count)]

            scans: dict[int, Scan] = {partition: scan}
            steps = listing(scans, selection, after=after, limit=limit, budget=_LISTED)
            while True:
                try:
                    next(steps)
                except StopIteration as ended:
                    listed = ended.value
                    break
            summaries = [summary for _, summary in listed.sessions]
            return summaries, listed.reached, Freshness.of_log(partition, end, end)

        return await self._ask(partition, ask)

    def _known(self, history: History, key: bytes) -> _Known:
        scans = self._scans[self._connection.partition_of(key) % len(self._archives)]
        known = scans.pop(key, _Scanned())
        end = max(known.upto, history.end_of(history.partition_of(key), None))
        session, erased = Session(session_id=key.decode()), known.erased
        for session, logged in history.walk(key, known.upto, end):  # noqa: B007 -- the last one is wanted
            if logged is not None and logged.is_accepted and isinstance(logged.event, SessionErased):
                erased = logged.offset
        scans[key] = _Scanned(end, erased)
        if len(scans) > _SCANS_KEPT:
            scans.popitem(last=False)
        return _Known(session, end, erased)

    async def _ask(self, partition: int, question: Callable[[History], _Result]) -> _Result:
        archive = self._archives[partition % len(self._archives)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await archive.ask(question)
        except TimeoutError:
            raise SessionUnavailableError(
                f"the log of partition {partition} takes long to read; try again", retry_after=1.0
            ) from None


def _session(history: History, key: bytes, end: int) -> Session:
    """Return a session before the record at ``end``."""
    return history.session(key, Moment(offset=end - 1)) if end else Session(session_id=key.decode())


def _is_there(session: Session) -> bool:
    return session.folded >= 0 and state_of(session) is not SessionState.ERASED
