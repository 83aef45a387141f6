"""Any number of subscribers over one reader of each partition of the tokens topic.

A subscriber names a session and a cursor. What lies between its cursor and the live reader's place is read by a second
reader, in passes that many subscribers share; then the live reader takes over, record by record and without a gap:
both speak on one event loop, and each subscriber knows the next offset it is to see. Buffers are bounded. A live
subscriber that left what it had unread until its buffer was full is cut off with an error that carries its cursor. One
that could not read yet, because all of it came at once, or that still reads what was there before it came, is set aside
instead: what follows is read again once it has read. Nobody ever waits for a slow one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final, Self

from confluent_kafka import KafkaException
from msgspec import Struct

from barnabas.bounds import Bounds, Offsets
from barnabas.cursor import Cursor
from barnabas.fanout_feed import Feed, FeedListener, FeedRecord
from schemas.errors import (
    AccessError,
    BrokerError,
    ClientError,
    CursorExpiredError,
    DecodeError,
    RegistryUnavailableError,
    SlowSubscriberError,
    TopicGoneError,
)
from schemas.serdes import Codec
from schemas.tokens import Token
from topics.access import GRANT, is_denied

logger = logging.getLogger(__name__)

#: Records and bytes (of their values, as they lie in Kafka) a subscriber may leave unread; the first to be reached
#: counts, one record always fits.
BUFFER_RECORDS: Final = 256
BUFFER_BYTES: Final = 256 * 1024

#: A reader begins at a cursor that is no farther than this from the end; behind others it is read in a pass.
_NEAR: Final = 2000

#: A partition without subscribers is read on for so long: the next question is often not far.
_IDLE_S: Final = 10.0


class TokenRecord(Struct, frozen=True, gc=False):
    """A token, where it lies, and how many bytes its value has there."""

    partition: int
    offset: int
    token: Token
    size: int = 0


class _Mode(Enum):
    LIVE = auto()
    PAST = auto()  #: Part of a pass, or of the next one.
    PARKED = auto()  #: Its buffer is full, and not by its fault; goes on when it has read.
    CUT = auto()  #: Ends when its buffer is empty.


class Subscription:
    """One session's records from a cursor on, as an async iterator. Made by :meth:`FanOut.subscribe`.

    Attributes:
        key: The session's Kafka key.
        partition: Its partition.
        next_offset: The first offset it has not been offered.
        first_end: The partition's end when it was made: what lies before it was not waited for, however it is read.
    """

    __slots__ = (
        "_buffer", "_epoch", "_error", "_fanout", "_limit", "_mode", "_reads_by", "_size", "_taken", "_waiter",
        "first_end", "key", "next_offset", "partition",
    )  # fmt: skip

    def __init__(self, fanout: FanOut, key: bytes, start: Cursor, limit: int, first_end: int) -> None:
        self.key = key
        self.partition = start.partition
        self.first_end = first_end
        self._fanout = fanout
        self._limit = limit
        self._buffer: deque[TokenRecord] = deque()
        self._size = 0
        #: The batch of the fan-out after which it should have read something.
        self._reads_by = 0
        self._taken = start.offset
        self._epoch = start.epoch
        self.next_offset = start.next_offset
        self._mode = _Mode.PAST
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def cursor(self) -> Cursor:
        """Behind the last record taken; with nothing left to take, as far as the partition has been read."""
        if not self._buffer and self._mode is _Mode.LIVE:
            return Cursor(self.partition, max(self._taken, self._fanout.position(self.partition) - 1), self._epoch)
        return Cursor(self.partition, self._taken, self._epoch)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TokenRecord:
        """Return the next record.

        Raises:
            SlowSubscriberError: It was cut off: too much was left unread.
            CursorExpiredError: Its records are gone by retention.
            TopicGoneError: The topic was deleted, or made anew.
            BrokerError: Reading ended for good.
            StopAsyncIteration: It was closed.
        """
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._mode is _Mode.CUT:
                raise StopAsyncIteration
            await self.ready()
        return self._take()

    async def ready(self) -> None:
        """Wait until there may be something: a record, the end, or a :meth:`nudge`. One task at a time waits."""
        if self._buffer or self._mode is _Mode.CUT:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def nudge(self) -> None:
        """Wake the task that waits in :meth:`ready`, whatever has come."""
        self._wake()

    @property
    def reached(self) -> int:
        """The offset before which everything of the session was offered to it."""
        return self._fanout.reached(self) if self._mode in {_Mode.LIVE, _Mode.PAST} else self.next_offset

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wake who waits in :meth:`ready` whenever the partition is read on, for as long as the block lasts.

        For who waits for a place, not for a record: none of the session's may lie there.
        """
        self._fanout.watch(self)
        try:
            yield
        finally:
            self._fanout.unwatch(self)

    @property
    def is_cut(self) -> bool:
        """Whether nothing follows what is buffered: it was closed, cut off, or reading ended."""
        return self._mode is _Mode.CUT

    def get_nowait(self) -> TokenRecord | None:
        """Return the next record if one is there; raises as :meth:`__anext__`, except for the end."""
        if self._buffer:
            return self._take()
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Leave; what is buffered is dropped. Repeatable."""
        self._buffer.clear()
        self._mode = _Mode.CUT
        self._fanout.leave(self)
        self._wake()

    # -- The fan-out's side

    def _take(self) -> TokenRecord:
        record = self._buffer.popleft()
        self._size -= record.size
        self._reads_by = self._fanout.batch + 1
        self._taken = record.offset
        self._epoch = max(self._epoch, record.token.epoch)
        if self._mode is _Mode.PARKED and len(self._buffer) <= self._limit // 2 and self._size <= BUFFER_BYTES // 2:
            self._fanout.go_on(self)
        return record

    def offer(self, record: TokenRecord) -> bool:
        """Take a record if there is room; False where there is none. One that was seen is taken for granted."""
        if record.offset < self.next_offset:
            return True
        if self._buffer and (len(self._buffer) >= self._limit or self._size + record.size > BUFFER_BYTES):
            return False
        if not self._buffer:
            self._reads_by = self._fanout.batch
        self._buffer.append(record)
        self._size += record.size
        self.next_offset = record.offset + 1
        self._wake()
        return True

    def end(self, error: Exception) -> None:
        """End with an error, behind what is buffered."""
        self._mode, self._error = _Mode.CUT, error
        self._wake()

    def join(self, position: int) -> bool:
        """Say whether it may follow the live reader at ``position``, or has to read the past first."""
        self._mode = _Mode.LIVE if self.next_offset >= position else _Mode.PAST
        return self._mode is _Mode.LIVE

    def passed(self, reached: int) -> None:
        """Follow the live reader: a pass took it to the offset ``reached``."""
        self.next_offset = max(self.next_offset, reached)
        self._mode = _Mode.LIVE

    def park(self) -> None:
        """Wait until there is room again."""
        self._mode = _Mode.PARKED

    @property
    def is_slow(self) -> bool:
        """Whether it has taken nothing of what it has, although its task has run since that came."""
        return self._reads_by <= self._fanout.settled

    @property
    def end_cursor(self) -> Cursor:
        """Behind the last record that it will give if it ends now."""
        if not self._buffer:
            return self.cursor
        epoch = max(self._epoch, *(record.token.epoch for record in self._buffer))
        return Cursor(self.partition, self._buffer[-1].offset, epoch)

    def cut_off(self) -> None:
        """End: its buffer is full, and it does not read."""
        cursor = self.end_cursor
        text = f"more than {len(self._buffer)} records were left unread; subscribe again with the cursor {cursor}"
        self.end(SlowSubscriberError(text, cursor=str(cursor)))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Partition:
    """What is read of one partition, and who reads it."""

    __slots__ = ("idle", "live", "number", "parked", "passing", "past", "position", "waiting", "watching")

    def __init__(self, number: int, position: int) -> None:
        self.number = number
        #: The next offset of the live reader.
        self.position = position
        self.live: dict[bytes, list[Subscription]] = {}
        #: The next offset of the running pass; None while there is none.
        self.passing: int | None = None
        #: Who takes part in it, who waits for the next one, and who was set aside.
        self.past: dict[bytes, list[Subscription]] = {}
        self.waiting: set[Subscription] = set()
        self.parked: set[Subscription] = set()
        #: Who is woken at each batch, beside the above.
        self.watching: set[Subscription] = set()
        self.idle: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.live or self.past or self.waiting or self.parked)

    @property
    def in_pass(self) -> list[Subscription]:
        return [one for group in self.past.values() for one in group]

    @property
    def everyone(self) -> list[Subscription]:
        return [*(one for group in self.live.values() for one in group), *self.in_pass, *self.waiting, *self.parked]

    def remove(self, one: Subscription) -> None:
        """Forget a subscription, wherever it is."""
        for groups in (self.live, self.past):
            group = groups.get(one.key)
            if group is not None and one in group:
                group.remove(one)
                if not group:
                    del groups[one.key]
        self.waiting.discard(one)
        self.parked.discard(one)


class FanOut(FeedListener):
    """Reads each partition of the tokens topic once, whatever the number of subscribers; lives on one event loop.

    At 10,000 idle subscribers each takes about 2 KB. A record's cost grows with its own session's subscribers alone.

    Args:
        make_feed: Makes a reader that reports to this object; called for the live one, and once for the past.
        offsets: The topic's bounds.
        codec: Decodes tokens; each record once.
        topic: Its name, for errors.

    Attributes:
        batch: How many times records came.
        settled: The last batch that the tasks it woke have had a turn to read of. Several batches may be handed over
            between two turns of a task, so that it is not enough that one came before another.
    """

    def __init__(
        self, make_feed: Callable[[FeedListener], Feed], offsets: Offsets, codec: Codec, *, topic: str
    ) -> None:
        self._make_feed = make_feed
        self._offsets = offsets
        self._codec = codec
        self._topic = topic
        self._partitions: dict[int, _Partition] = {}
        self._live: Feed | None = None
        self._past: Feed | None = None
        self._is_closed = False
        self.batch = self.settled = 0
        self._recovering: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Task[None]] = set()

    # -- Subscribers

    async def now(self, partition: int) -> Cursor:
        """Return a cursor at the partition's end, or shortly before it: what is written from now on lies behind it.

        Raises:
            BrokerError: No broker answered.
        """
        found = self._partitions.get(partition)
        end = found.position if found is not None else (await self._offsets.of(partition)).end
        return Cursor(partition, end - 1)

    async def beginning(self, partition: int) -> Cursor:
        """Return a cursor before the oldest record that is kept; raises as :meth:`now`."""
        return Cursor(partition, (await self._offsets.of(partition)).earliest - 1)

    async def subscribe(
        self, key: bytes, after: Cursor, *, limit: int = BUFFER_RECORDS, look_back: int = 0
    ) -> Subscription:
        """Subscribe to a session's records behind a cursor.

        Args:
            key: The session's Kafka key.
            after: Names the partition as well; see :meth:`now`.
            limit: How many records may be left unread.
            look_back: Begin so many of the partition's offsets before the cursor, as far as they are kept.

        Raises:
            ClientError: The fan-out was closed.
            CursorExpiredError: The records behind the cursor are gone, or were never written.
            BrokerError: No broker answered.
        """
        bounds = await self._offsets.of(after.partition, at_least=after.next_offset)
        if self._is_closed:
            raise ClientError(f"closed; go on from {after}")
        if not bounds.earliest <= after.next_offset <= bounds.end:
            raise self._expired(after, bounds)
        if look_back:
            after = Cursor(after.partition, max(after.offset - look_back, bounds.earliest - 1), after.epoch)
        place = self._partitions.get(after.partition)
        if place is None:
            place = self._begin(after, bounds)
        if place.idle is not None:
            place.idle.cancel()
            place.idle = None
        made = Subscription(self, key, after, limit, bounds.end)
        self._place(place, made)
        return made

    def position(self, partition: int) -> int:
        """Return the next offset of a partition's live reader."""
        return self._partitions[partition].position

    def reached(self, one: Subscription) -> int:
        """Return the offset before which a subscription, live or reading the past, was offered everything."""
        place = self._partitions.get(one.partition)
        if place is None or one in place.waiting:
            return one.next_offset
        if one in place.live.get(one.key, ()):
            return max(one.next_offset, place.position)
        return max(one.next_offset, place.passing or 0)

    def watch(self, one: Subscription) -> None:
        """Nudge a subscription whenever its partition is read on, until it leaves or :meth:`unwatch`."""
        place = self._partitions.get(one.partition)
        if place is not None:
            place.watching.add(one)

    def unwatch(self, one: Subscription) -> None:
        """Undo :meth:`watch`; repeatable."""
        place = self._partitions.get(one.partition)
        if place is not None:
            place.watching.discard(one)

    def leave(self, one: Subscription) -> None:
        """Forget a subscription; a partition without any is let go after a while."""
        place = self._partitions.get(one.partition)
        if place is None:
            return
        place.remove(one)
        place.watching.discard(one)
        if place.is_empty and place.idle is None:
            place.idle = asyncio.get_running_loop().call_later(_IDLE_S, self._let_go, place)

    def go_on(self, one: Subscription) -> None:
        """Read on for a subscription that was set aside and has room again."""
        place = self._partitions[one.partition]
        place.parked.discard(one)
        self._place(place, one)

    async def close(self) -> None:
        """End every subscription and both readers, for good."""
        self._is_closed = True
        for task in self._recovering:
            task.cancel()
        for place in [*self._partitions.values()]:
            for one in place.everyone:
                one.close()
            self._forget(place)
        self._retire_feeds()
        await asyncio.gather(*self._retiring)

    # -- Reading

    def records(self, feed: Feed, records: list[FeedRecord]) -> None:
        """Hand the next records to their subscribers."""
        if feed not in (self._live, self._past):
            return
        self.batch += 1
        partitions, is_past = self._partitions, feed is self._past
        touched: set[_Partition] = set()
        for record in records:
            place = partitions.get(record.partition)
            if place is None:
                continue
            group = (place.past if is_past else place.live).get(record.key or b"")
            if group is not None:
                self._dispatch(place, group, record, is_past=is_past)
            if is_past:
                place.passing = record.offset + 1
                touched.add(place)
            else:
                place.position = record.offset + 1
                if place.watching:
                    touched.add(place)
        for place in touched:
            if is_past:
                self._end_pass(place)
            for one in place.watching:
                one.nudge()
        # Behind the tasks that were woken just now, which read as far as they can at their turn.
        asyncio.get_running_loop().call_soon(self._settle, self.batch)

    def _settle(self, batch: int) -> None:
        self.settled = batch

    def out_of_range(self, feed: Feed, partition: int) -> None:
        """A position is gone: retention overtook it, or the topic was made anew."""
        place = self._partitions.get(partition)
        if place is not None and feed in (self._live, self._past):
            feed.leave(partition)
            _run(self._recover(place, is_past=feed is self._past), self._recovering)

    def failed(self, feed: Feed, error: Exception) -> None:
        """A reader cannot go on: end every subscription; each has its cursor, and the next one begins anew."""
        if feed not in (self._live, self._past):
            return
        logger.error("%s cannot be read: %s", self._topic, error)
        for place in [*self._partitions.values()]:
            self._end_all(place, place.everyone, error)
            self._forget(place)
        self._retire_feeds()

    def _dispatch(self, place: _Partition, group: list[Subscription], record: FeedRecord, *, is_past: bool) -> None:
        try:
            token = self._codec.decode_token(
                record.value, topic=self._topic, partition=record.partition, offset=record.offset
            )
        except DecodeError as error:  # the same for every reader: the terminal record repairs what is missing
            logger.warning("a token is left out: %s", error)
            return
        except RegistryUnavailableError as error:
            for one in [*group]:
                place.remove(one)
                one.end(error)
            return
        found = TokenRecord(record.partition, record.offset, token, len(record.value or b""))
        full = [one for one in group if not one.offer(found)]
        for one in full:
            place.remove(one)
            if not is_past and found.offset >= one.first_end and one.is_slow:
                one.cut_off()
            else:
                one.park()
                place.parked.add(one)

    # -- Places

    def _begin(self, after: Cursor, bounds: Bounds) -> _Partition:
        """Read a partition from now on, or from a cursor that is near."""
        start = after.next_offset if bounds.end - after.next_offset <= _NEAR else bounds.end
        place = self._partitions[after.partition] = _Partition(after.partition, start)
        if self._live is None:
            self._live = self._make_feed(self)
        self._live.read(place.number, start)
        return place

    def _let_go(self, place: _Partition) -> None:
        place.idle = None
        if place.is_empty:
            self._forget(place)

    def _forget(self, place: _Partition) -> None:
        """Read a partition no more; the next subscriber begins anew. A newer place of that partition stays."""
        if place.idle is not None:
            place.idle.cancel()
            place.idle = None
        if self._partitions.get(place.number) is place:
            del self._partitions[place.number]
            for feed in (self._live, self._past):
                if feed is not None:
                    feed.leave(place.number)

    def _retire_feeds(self) -> None:
        """Close both readers; who subscribes meanwhile gets new ones."""
        feeds, self._live, self._past = (self._live, self._past), None, None
        for feed in feeds:
            if feed is not None:
                _run(feed.close(), self._retiring)

    def _place(self, place: _Partition, one: Subscription) -> None:
        if one.join(place.position):
            place.live.setdefault(one.key, []).append(one)
        elif place.passing is not None and one.next_offset >= place.passing:
            place.past.setdefault(one.key, []).append(one)
        else:
            place.waiting.add(one)
            self._start_pass(place)

    def _start_pass(self, place: _Partition) -> None:
        """Read the past for all who wait, from the oldest of their places."""
        if place.passing is not None or not place.waiting:
            return
        place.passing = min(one.next_offset for one in place.waiting)
        for one in place.waiting:
            place.past.setdefault(one.key, []).append(one)
        place.waiting.clear()
        if self._past is None:
            self._past = self._make_feed(self)
        self._past.read(place.number, place.passing)

    def _end_pass(self, place: _Partition) -> None:
        """Hand over to the live reader where the pass has reached its place."""
        if place.passing is None or (place.past and place.passing < place.position):
            return
        reached, place.passing = place.passing, None
        if self._past is not None:
            self._past.leave(place.number)
        for one in place.in_pass:
            one.passed(reached)
            place.live.setdefault(one.key, []).append(one)
        place.past.clear()
        self._start_pass(place)

    async def _recover(self, place: _Partition, *, is_past: bool) -> None:
        try:
            bounds = await self._offsets.of(place.number, at_least=place.position + 1)
        except Exception as error:  # noqa: BLE001 -- nobody awaits this: those who wait for records have to hear of it
            self._end_all(place, place.everyone, error)
            self._forget(place)
            return
        if is_past:
            for one in place.in_pass:
                one.next_offset = max(one.next_offset, place.passing or 0)
            readers = [*place.in_pass, *place.waiting, *place.parked]
            ended = [one for one in readers if one.next_offset < bounds.earliest]
        else:
            ended = place.everyone
        for one in ended:
            place.remove(one)
            one.end(self._expired(one.cursor, bounds))
        if is_past:
            place.passing = None
            place.waiting.update(place.in_pass)
            place.past.clear()
            self._start_pass(place)
        else:
            self._forget(place)

    def _end_all(self, place: _Partition, everyone: list[Subscription], error: Exception) -> None:
        for one in everyone:
            place.remove(one)
            one.end(self._unreadable(error, one.end_cursor))

    def _unreadable(self, error: Exception, cursor: Cursor) -> BrokerError:
        if isinstance(error, TopicGoneError):
            return error  # there is nothing to go on with
        if isinstance(error, KafkaException) and is_denied(error.args[0]):
            return AccessError(f"{self._topic} may not be read ({error.args[0].str()}); {GRANT}")
        return BrokerError(f"{self._topic} cannot be read: {error}; go on from {cursor}")

    def _expired(self, cursor: Cursor, bounds: Bounds) -> CursorExpiredError:
        earliest = Cursor(cursor.partition, bounds.earliest - 1)
        text = (
            f"the records behind {cursor} are gone (kept are {bounds.earliest} to {bounds.end - 1} of "
            f"{self._topic}-{cursor.partition}); begin at {earliest}"
        )
        return CursorExpiredError(text, earliest=str(earliest))


def _run(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    """Run it as a task, which is held in ``tasks`` until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
