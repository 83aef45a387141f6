"""A session's stream from a cursor on, the same whoever reads it and however often he comes back.

**What the ids mean.** An event is one token record, never made of several nor invented, and its id is the cursor
behind that record: ``partition:offset:epoch``. All of it is the record's own (a record is only shown if its epoch is
not below one before it), so two readers that are shown a record are shown the same bytes, id and data. What a reader
has to *do* is said by the events, not by the gateway: ``superseded`` has him forget, the last event carries the whole
answer and stands for what he shows. Nothing has to be synthesized for one who comes back in the middle of a turn, and
nothing that is sent depends on what he was sent before.

**Which records.** A record that does not count is left out (:mod:`~barnabas.gateway.token_filter`). The filter of one
who comes back is brought to where it was by reading the :data:`~barnabas.gateway.token_filter.LOOK_BACK` offsets before
his cursor again. So what was shown before the cursor and what is shown behind it make, byte for byte, what somebody
saw who never left, whichever instance he comes back to.

One limit: a new owner of a partition sends the last record of turns again whose acknowledgement was not committed. If
its twin lies farther back than ``LOOK_BACK`` and the reader came back in between, he is shown the turn's end twice.
The second says what the first one said: an event of a turn that has ended changes nothing.

**Cursors move without events, too.** A sign of life carries the cursor up to which the partition was read, so that a
session that is quiet for longer than tokens are kept can still be resumed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

from barnabas.client import Client
from barnabas.cursor import Cursor
from barnabas.fanout import Subscription, TokenRecord
from barnabas.gateway.token_filter import LOOK_BACK, TokenFilter
from schemas.tokens import TERMINAL_KINDS, Token

#: Where a stream begins that is to show all that is kept.
BEGINNING: Final = "beginning"

#: Longest a reader that asks for one turn waits for the record at its cursor, to learn whether the turn is over.
_CATCH_UP_S: Final = 1.0


class Shown(NamedTuple):
    """A record that is shown, and the cursor behind it."""

    token: Token
    cursor: Cursor


class SessionReader:
    """Gives the records of a session that are shown; made by :func:`open_reader`, one task takes them.

    Args:
        records: From before the cursor on.
        after: Where the stream begins.
        turn_id: Shows this turn alone, and is over with it.
    """

    __slots__ = ("_after", "_filter", "_is_over", "_pending", "_records", "_turn_id")

    def __init__(self, records: Subscription, after: Cursor, turn_id: str | None = None) -> None:
        self._records = records
        self._after = after
        self._turn_id = turn_id
        self._filter = TokenFilter(after.epoch)
        self._pending: TokenRecord | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow: the turn has ended, or it was closed."""
        return self._is_over

    @property
    def cursor(self) -> Cursor:
        """Behind all that was read, where nothing is left to take: what comes lies behind it."""
        reached = self._records.cursor.offset if self._pending is None else self._after.offset
        return Cursor(self._after.partition, max(self._after.offset, reached), self._filter.epoch)

    def take(self) -> Shown | None:
        """Return the next record that is shown; None where nothing has come, or nothing will.

        Raises:
            SlowSubscriberError: The reader was cut off: too much was left unread.
            CursorExpiredError: Its records are gone by retention.
            BrokerError: Reading ended for good.
        """
        while not self._is_over:
            record, self._pending = self._pending or self._records.get_nowait(), None
            if record is None:
                self._is_over = self._records.is_cut
                return None
            token = record.token
            if record.offset <= self._after.offset:
                self._filter.look_back(token)
            elif self._filter.shows(token) and (self._turn_id is None or token.turn_id == self._turn_id):
                self._is_over = self._turn_id is not None and token.kind in TERMINAL_KINDS
                return Shown(token, Cursor(record.partition, record.offset, token.epoch))
        return None

    async def ready(self) -> None:
        """Wait until there may be something to take, the end, or a :meth:`nudge`."""
        if self._pending is None:
            await self._records.ready()

    def nudge(self) -> None:
        """Wake who waits in :meth:`ready`."""
        self._records.nudge()

    def close(self) -> None:
        """End it; repeatable."""
        self._is_over = True
        self._records.close()

    async def has_ended(self) -> bool:
        """Say whether the turn that is asked for had ended at the cursor: then nothing is left to wait for.

        Raises as :meth:`take`; it is to be closed then.
        """
        if self._turn_id is None or not self._after.is_resumed:
            return False
        records = self._records
        with suppress(TimeoutError), records.watching():  # nothing is known then
            async with asyncio.timeout(_CATCH_UP_S):
                # The cursor need not be of an event of this session: a sign of life is behind any record.
                while (record := records.get_nowait()) is not None or (
                    records.reached <= self._after.offset and not records.is_cut
                ):
                    if record is None:
                        await records.ready()
                    elif record.offset > self._after.offset:
                        self._pending = record
                        break
                    else:
                        self._filter.look_back(record.token)
        return self._filter.has_ended(self._turn_id)


async def open_reader(
    client: Client, session_id: str, tenant: str | None, *, after: str | None, turn_id: str | None = None
) -> SessionReader:
    """Open a session's stream.

    Args:
        client: The gateway's.
        session_id: Whose; one that nobody has talked to yet is silent until somebody does.
        tenant: Its owner.
        after: A cursor, ``beginning``, or None for what is written from now on.
        turn_id: This turn alone.

    Raises:
        InvalidMessageError: The session id is impossible.
        CursorError: ``after`` is no cursor, or of another session's partition.
        CursorExpiredError: The records behind it are gone by retention.
        BrokerError: No broker answered.
    """
    start: Cursor | str | None = after
    if after == BEGINNING:
        start = await client.beginning(session_id, tenant=tenant)
    elif after is not None:
        start = Cursor.parse(after)
    look_back = LOOK_BACK if isinstance(start, Cursor) and start.is_resumed else 0
    records = await client.subscribe(session_id, after=start, tenant=tenant, look_back=look_back)
    return SessionReader(records, start if isinstance(start, Cursor) else records.cursor, turn_id)
