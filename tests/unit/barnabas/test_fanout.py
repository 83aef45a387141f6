"""The fan-out over feeds that are driven by hand: no gap, no repeat, bounded, nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from barnabas.bounds import Bounds
from barnabas.cursor import Cursor
from barnabas.fanout import FanOut, Subscription
from barnabas.fanout_feed import FeedListener, FeedRecord
from schemas.attempt import Attempt
from schemas.errors import BrokerError, ClientError, CursorExpiredError, SlowSubscriberError
from schemas.serdes import Codec
from schemas.tokens import Token, TokenKind, ToolUse

CODEC = Codec()


class HandFeed:
    """Reads a list, as far as a test lets it."""

    def __init__(self, topic: Topic, listener: FeedListener) -> None:
        self.topic, self.listener = topic, listener
        self.position: int | None = None

    def read(self, partition: int, offset: int) -> None:
        """Take a position."""
        assert partition == 0
        self.position = offset

    def leave(self, partition: int) -> None:
        """Give it up."""
        self.position = None

    async def close(self) -> None:
        """End."""
        self.position = None

    def pump(self, count: int | None = None) -> None:
        """Hand over what is there, at most ``count`` records."""
        if self.position is None:
            return
        if self.position < self.topic.earliest:
            self.listener.out_of_range(self, 0)
            return
        end = len(self.topic.log) if count is None else min(len(self.topic.log), self.position + count)
        records = self.topic.log[self.position : end]
        self.position = end
        if records:
            self.listener.records(self, records)


class Topic:
    """One partition in memory, and the fan-out over it."""

    def __init__(self) -> None:
        self.log: list[FeedRecord] = []
        self.earliest = 0
        #: Set where the broker takes its time, or does not answer.
        self.answers: asyncio.Event | None = None
        self.broken: BrokerError | None = None
        self.feeds: list[HandFeed] = []
        self.fanout = FanOut(self._feed, self, CODEC, topic="t.tokens")

    def _feed(self, listener: FeedListener) -> HandFeed:
        self.feeds.append(HandFeed(self, listener))
        return self.feeds[-1]

    async def of(self, partition: int, *, at_least: int = 0) -> Bounds:
        """Answer as a broker."""
        if self.answers is not None:
            await self.answers.wait()
        if self.broken is not None:
            raise self.broken
        return Bounds(self.earliest, len(self.log))

    def write(self, session: str, text: str, *, epoch: int = 1, result: str | None = None) -> None:
        """Append a token; one of a tool where there is a ``result``."""
        offset = len(self.log)
        token = Token(
            session_id=session, turn_id="t", message_id="m", attempt=Attempt(epoch), epoch=epoch, index=offset,
            kind=TokenKind.DELTA if result is None else TokenKind.TOOL, occurred_at=0, text=text,
            tool=None if result is None else ToolUse(call_id="c", name="n", result=result),
        )  # fmt: skip
        self.log.append(FeedRecord(0, offset, session.encode(), CODEC.encode(token)))

    def fill(self, count: int, session: str = "other") -> None:
        """Append many."""
        for _ in range(count):
            self.write(session, "x")

    def pump(self) -> None:
        """Let both feeds read to the end."""
        for feed in self.feeds:
            feed.pump()

    async def subscribe(self, session: str = "ada", after: int = -1, **options: int) -> Subscription:
        """Subscribe behind an offset."""
        return await self.fanout.subscribe(session.encode(), Cursor(0, after), **options)


@pytest.fixture
async def topic() -> AsyncIterator[Topic]:
    """Give an empty partition."""
    made = Topic()
    yield made
    await made.fanout.close()


def taken(subscription: Subscription) -> list[str]:
    """Take what is buffered."""
    return [record.token.text or "" for record in iter(subscription.get_nowait, None)]


async def test_subscribers_get_their_own_sessions_records_in_order(topic: Topic) -> None:
    """Two on one session, one on another; one reader for all."""
    first, second, bob = await topic.subscribe(), await topic.subscribe(), await topic.subscribe("bob")
    for text in "abc":
        topic.write("ada", text)
        topic.write("bob", text.upper())
    topic.pump()
    assert taken(first) == taken(second) == ["a", "b", "c"]
    assert taken(bob) == ["A", "B", "C"]
    assert len(topic.feeds) == 1


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_subscriber_with_an_old_cursor_reads_the_past_then_follows_without_a_gap(topic: Topic, step: int) -> None:
    """The live reader moves on meanwhile, in whatever steps the two are served."""
    live = await topic.subscribe("bob")
    topic.fill(5000)
    topic.pump()
    for number in range(40):
        topic.write("ada", str(number))
    topic.pump()
    late = await topic.subscribe("ada", after=4000)
    assert len(topic.feeds) == 2
    for number in range(40, 80):
        topic.write("ada", str(number))
        topic.feeds[1].pump(step)
        topic.feeds[0].pump(1)
    for _ in range(6000 // step + 50):
        topic.feeds[1].pump(step)
        topic.feeds[0].pump(step)
    topic.write("ada", "80")
    topic.pump()
    assert taken(late) == [str(number) for number in range(81)]
    assert topic.feeds[1].position is None  # the pass is over
    live.close()


async def test_subscribers_of_the_past_share_a_pass(topic: Topic) -> None:
    """A thousand come back at once, with cursors of their own: two readings, not a thousand."""
    await topic.subscribe("bob")
    for number in range(3000):
        topic.write(f"s{number % 1000}", str(number))
    topic.pump()
    orders: list[int] = []
    read = HandFeed.read

    def counted(self: HandFeed, partition: int, offset: int) -> None:
        orders.append(offset)
        read(self, partition, offset)

    HandFeed.read = counted  # type: ignore[method-assign]
    try:
        late = [await topic.subscribe(f"s{number}", after=999 - number) for number in range(1000)]
        for _ in range(3):
            topic.pump()
    finally:
        HandFeed.read = read  # type: ignore[method-assign]
    assert len(orders) == 2
    for number, one in enumerate(late):
        assert taken(one) == [str(n) for n in range(number, 3000, 1000) if n > 999 - number]


async def test_slow_live_subscriber_is_cut_off_and_resumes_where_it_stopped(topic: Topic) -> None:
    """Its buffer is bounded; the others notice nothing; its cursor gives exactly the rest."""
    slow, quick = await topic.subscribe(limit=4), await topic.subscribe(limit=1000)
    for number in range(10):
        topic.write("ada", str(number), epoch=5)
        topic.pump()
        await asyncio.sleep(0)
    assert taken(quick) == [str(number) for number in range(10)]
    seen = [(await anext(slow)).token.text for _ in range(4)]
    with pytest.raises(SlowSubscriberError) as cut:
        await anext(slow)
    cursor = Cursor.parse(cut.value.cursor)
    assert (cursor, slow.cursor) == (Cursor(0, 3, 5), Cursor(0, 3, 5))
    again = await topic.fanout.subscribe(b"ada", cursor)
    topic.pump()
    assert seen + taken(again) == [str(number) for number in range(10)]


@pytest.mark.parametrize("is_tool", [False, True])
async def test_slow_live_subscriber_is_cut_off_by_size_too(topic: Topic, *, is_tool: bool) -> None:
    """A few long answers are as much as many short ones, and so are results of tools.

    Fails for tools where characters of the text alone are counted.
    """
    one = await topic.subscribe()
    for _ in range(4):
        topic.write("ada", "" if is_tool else "x" * 100_000, result="x" * 100_000 if is_tool else None)
        topic.pump()
        await asyncio.sleep(0)
    assert len(one._buffer) == 2
    with pytest.raises(SlowSubscriberError):
        [record async for record in one]


@pytest.mark.parametrize("batches", [1, 20])
async def test_batch_that_nobody_could_read_of_cuts_nobody_off(topic: Topic, batches: int) -> None:
    """After a stall thousands of records come between two turns of a task; it reads them all, with a bounded buffer.

    Fails where a full buffer alone is the reason, and, of several batches, where it is enough that one was before.
    """
    one, seen = await topic.subscribe(limit=256), list[str]()
    largest = 0

    async def read() -> None:
        nonlocal largest
        while len(seen) < 4000:
            await one.ready()
            largest = max(largest, len(one._buffer))
            seen.extend(taken(one))

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    for number in range(4000):
        topic.write("ada", str(number))
    for _ in range(batches):
        topic.feeds[0].pump(4000 // batches)
    async with asyncio.timeout(60):
        while not reading.done():
            await asyncio.sleep(0)
            topic.pump()
    await reading
    assert seen == [str(number) for number in range(4000)]
    assert largest <= 256


async def test_subscriber_that_takes_a_little_of_each_batch_is_not_cut_off(topic: Topic) -> None:
    """It reads, behind the others; what follows waits for it in Kafka. Fails where what it takes is not noted."""
    one, seen = await topic.subscribe(limit=4), list[str]()
    for number in range(100):
        topic.write("ada", str(number))
        topic.write("ada", f"{number}+")
        topic.pump()
        await asyncio.sleep(0)
        seen.append((await anext(one)).token.text or "")
        assert len(one._buffer) <= 4
    for _ in range(200):
        topic.pump()
        seen += taken(one)
    assert seen == [text for number in range(100) for text in (str(number), f"{number}+")]


async def test_what_lay_there_before_a_subscriber_came_cuts_nobody_off(topic: Topic) -> None:
    """The first one, which the live reader begins with at its cursor: a thousand records come at one stroke."""
    topic.fill(1000, "ada")
    one = await topic.subscribe(limit=4)
    seen: list[str] = []
    for _ in range(1000):
        topic.pump()
        seen += taken(one)
    assert len(seen) == 1000


async def test_slow_reader_of_the_past_is_set_aside_and_gets_all(topic: Topic) -> None:
    """History is longer than any buffer; it is read again from where the reader stopped, never held."""
    await topic.subscribe("bob")
    for number in range(3000):
        topic.write("ada", str(number))
    topic.pump()
    late = await topic.subscribe(limit=8)
    seen: list[str] = []
    for _ in range(3000):
        topic.pump()
        assert len(late._buffer) <= 8
        seen += taken(late)
        if len(seen) == 3000:
            break
    assert seen == [str(number) for number in range(3000)]
    topic.write("ada", "live")
    topic.pump()
    assert taken(late) == ["live"]


async def test_undecodable_record_is_left_out_and_logged(topic: Topic, caplog: pytest.LogCaptureFixture) -> None:
    """One bad record under a session's own key must not end its streams."""
    one = await topic.subscribe()
    topic.write("ada", "a")
    topic.log.append(FeedRecord(0, 1, b"ada", b"garbage"))
    topic.write("ada", "b")
    with caplog.at_level(logging.WARNING):
        topic.pump()
    assert taken(one) == ["a", "b"]
    assert "t.tokens-0@1" in caplog.text


async def test_cursor_past_the_retention_says_where_to_begin(topic: Topic) -> None:
    """No silent hole; and one beyond the end is of another topic."""
    topic.fill(10)
    topic.earliest = 5
    with pytest.raises(CursorExpiredError) as gone:
        await topic.subscribe(after=2)
    assert gone.value.earliest == "0:4:-1"
    assert await topic.fanout.subscribe(b"ada", Cursor.parse(gone.value.earliest))
    with pytest.raises(CursorExpiredError):
        await topic.subscribe(after=10)


async def test_retention_that_overtakes_a_reader_of_the_past_ends_it_alone(topic: Topic) -> None:
    """While it waited; those whose records are kept go on."""
    live = await topic.subscribe("bob")
    topic.fill(2000)
    topic.write("ada", "kept")
    topic.fill(2000)
    topic.pump()
    old, newer = await topic.subscribe(after=10), await topic.subscribe(after=1990)
    topic.earliest = 1500
    topic.pump()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    topic.pump()
    with pytest.raises(CursorExpiredError):
        await anext(old)
    assert taken(newer) == ["kept"]
    topic.write("bob", "on")
    topic.pump()
    assert taken(live)[-1] == "on"


async def test_reader_that_cannot_go_on_ends_every_subscription(topic: Topic) -> None:
    """With an error that names the cursor; the next one begins anew, with another reader."""
    one = await topic.subscribe()
    topic.write("ada", "a", epoch=3)
    topic.pump()
    topic.fanout.failed(topic.feeds[0], RuntimeError("the client is broken"))
    assert (await anext(one)).token.text == "a"
    with pytest.raises(BrokerError, match=r"the client is broken; go on from 0:0:3"):
        await anext(one)
    again = await topic.subscribe()
    topic.fanout.failed(topic.feeds[0], RuntimeError("what the old one still had to say"))
    topic.write("ada", "b")
    topic.pump()
    assert taken(again) == ["a", "b"]
    assert len(topic.feeds) == 2


@pytest.mark.parametrize("is_past", [False, True])
async def test_broker_that_does_not_say_what_is_kept_ends_the_subscriptions(topic: Topic, *, is_past: bool) -> None:
    """A position is gone, and nobody answers the question for the next one: an error instead of a silent hang."""
    live = await topic.subscribe("bob")
    topic.fill(3000)
    topic.pump()
    waiting = await topic.subscribe(after=10)
    topic.broken = BrokerError("Kafka did not answer")
    topic.fanout.out_of_range(topic.feeds[is_past], 0)
    for one in (live, waiting):
        async with asyncio.timeout(60):
            with pytest.raises(BrokerError, match="Kafka did not answer; go on from 0:"):
                await anext(one)
    topic.broken = None
    again = await topic.subscribe(after=len(topic.log) - 1)
    topic.write("ada", "a")
    topic.pump()
    assert taken(again) == ["a"]


async def test_partition_read_anew_outlives_the_idle_timer_of_its_old_place(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last subscriber had left when its position was lost; somebody came since."""
    monkeypatch.setattr("barnabas.fanout._IDLE_S", 0.01)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    (await topic.subscribe()).close()
    topic.fanout.out_of_range(topic.feeds[0], 0)
    await asyncio.sleep(0)
    one = await topic.subscribe()
    await asyncio.sleep(0.05)
    topic.write("ada", "a")
    topic.pump()
    assert taken(one) == ["a"]
    assert not errors


async def test_closed_fan_out_begins_nothing(topic: Topic) -> None:
    """Not even for who asked before and waited for the broker meanwhile."""
    topic.answers = asyncio.Event()
    asking = asyncio.create_task(topic.subscribe())
    await asyncio.sleep(0)
    await topic.fanout.close()
    topic.answers.set()
    with pytest.raises(ClientError, match="go on from 0:-1:-1"):
        await asking
    assert not topic.feeds


async def test_close_ends_the_iteration_and_forgets_the_subscription(topic: Topic) -> None:
    """Also one that waits."""
    one = await topic.subscribe()
    waiting = asyncio.create_task(anext(one, "over"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    one.close()
    one.close()
    assert await waiting == "over"
    (place,) = topic.fanout._partitions.values()
    assert place.is_empty
    topic.fanout._let_go(place)
    assert not topic.fanout._partitions
    assert topic.feeds[0].position is None


async def test_idle_cursor_moves_with_the_partition(topic: Topic) -> None:
    """A session that is silent for days does not fall behind the retention."""
    one = await topic.subscribe()
    topic.write("ada", "a", epoch=3)
    topic.pump()
    taken(one)
    topic.fill(100)
    topic.pump()
    assert one.cursor == Cursor(0, 100, 3)


async def test_idle_subscribers_are_small(topic: Topic) -> None:
    """The gateway's bound is 30 KB each, its own buffers included."""
    import tracemalloc

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [await topic.subscribe(f"session-{number}") for number in range(2000)]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / len(kept) < 4096


async def test_dispatch_costs_only_what_is_subscribed(topic: Topic) -> None:
    """Records of nobody's session are not even decoded."""
    one = await topic.subscribe()
    topic.log.extend(FeedRecord(0, number, b"other", b"garbage") for number in range(1000))
    topic.pump()
    topic.write("ada", "a")
    topic.pump()
    assert taken(one) == ["a"]
