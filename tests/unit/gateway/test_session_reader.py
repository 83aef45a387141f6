"""A reader over a feed that is driven by hand: what it is shown, where it is, and when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from barnabas.cursor import Cursor
from barnabas.gateway.app import make_app
from barnabas.gateway.gateway import Gateway
from barnabas.gateway.pulse import Pulse
from barnabas.gateway.session_reader import SessionReader
from barnabas.gateway.token_filter import LOOK_BACK
from barnabas.settings import Settings
from schemas.attempt import Attempt
from schemas.errors import BrokerError, SlowSubscriberError
from schemas.tokens import Token, TokenKind
from tests.unit.barnabas.test_fanout import CODEC, FeedRecord, Topic
from tests.unit.gateway.test_websocket import PublishingClient


@pytest.fixture
async def topic() -> AsyncIterator[Topic]:
    """Give an empty partition."""
    made = Topic()
    yield made
    await made.fanout.close()


def write_end(topic: Topic, session: str = "ada", turn: str = "t") -> None:
    """Append a turn's end."""
    offset = len(topic.log)
    token = Token(
        session_id=session, turn_id=turn, message_id="m", attempt=Attempt(1), epoch=1, index=offset,
        kind=TokenKind.COMPLETED, occurred_at=0,
    )  # fmt: skip
    topic.log.append(FeedRecord(0, offset, session.encode(), CODEC.encode(token)))


async def open_at(topic: Topic, after: Cursor, turn_id: str | None = None, **options: int) -> SessionReader:
    """Open a session's stream as the gateway does."""
    records = await topic.fanout.subscribe(b"ada", after, look_back=LOOK_BACK if after.is_resumed else 0, **options)
    return SessionReader(records, after, turn_id)


def take_all(reader: SessionReader) -> list[tuple[int, str]]:
    """Take what is there."""
    taken = []
    while (shown := reader.take()) is not None:
        taken.append((shown.cursor.offset, str(shown.cursor)))
    return taken


async def test_what_lies_before_the_cursor_is_read_and_not_shown(topic: Topic) -> None:
    """The session's and others'."""
    for session in ("ada", "bob", "ada", "ada"):
        topic.write(session, "x")
    reader = await open_at(topic, Cursor(0, 2, 1))
    topic.pump()
    assert take_all(reader) == [(3, "0:3:1")]


async def test_look_back_begins_where_the_topic_does(topic: Topic) -> None:
    """Less is kept than it wants."""
    topic.fill(20)
    topic.earliest = 15
    topic.write("ada", "x")
    reader = await open_at(topic, Cursor(0, 16, 1))
    topic.pump()
    assert take_all(reader) == [(20, "0:20:1")]


async def test_cursor_follows_the_partition_while_the_session_is_silent(topic: Topic) -> None:
    """With the epoch that was seen."""
    topic.write("ada", "x")
    reader = await open_at(topic, Cursor(0, -1))
    topic.pump()
    topic.fill(5)
    topic.pump()
    assert take_all(reader) == [(0, "0:0:1")]
    assert str(reader.cursor) == "0:5:1"


async def test_cursor_does_not_pass_what_is_left_to_take(topic: Topic) -> None:
    """A sign of life in between would lose it."""
    reader = await open_at(topic, Cursor(0, -1))
    topic.write("ada", "x")
    topic.fill(5)
    topic.pump()
    assert reader.cursor.offset == -1


async def test_turn_that_ended_before_the_cursor_is_known(topic: Topic) -> None:
    """Nobody waits for it again."""
    topic.write("ada", "x")
    write_end(topic)
    topic.fill(3)
    reader = await open_at(topic, Cursor(0, 1, 1), "t")
    topic.pump()
    assert await reader.has_ended()


@pytest.mark.parametrize("before", [0, 5000])
@pytest.mark.parametrize("has_come", [True, False])
async def test_turn_that_ended_before_a_sign_of_life_is_known_at_once(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, before: int, *, has_come: bool
) -> None:
    """The cursor is of another session's record; near the end, or read in a pass. Nobody waits for one of his own.

    Fails where only records of the session are looked at: it takes all the time that it may.
    """
    monkeypatch.setattr("barnabas.gateway.session_reader._CATCH_UP_S", 3600)
    live = await topic.subscribe("bob") if before else None
    write_end(topic)
    topic.fill(3)
    topic.fill(before)
    topic.pump()
    reader = await open_at(topic, Cursor(0, 2, 1), "t")
    if has_come:
        topic.pump()
    asked = asyncio.create_task(reader.has_ended())
    async with asyncio.timeout(60):
        while not asked.done():
            await asyncio.sleep(0)
            topic.feeds[-1].pump(1)
    assert asked.result()
    assert (live is None) == (len(topic.feeds) == 1)


async def test_reader_that_fails_before_it_is_asked_anything_is_closed(
    topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its partition would be read for nobody, for ever."""

    async def failing(_reader: SessionReader) -> bool:
        raise BrokerError("Kafka is away")

    monkeypatch.setattr(SessionReader, "has_ended", failing)
    settings = Settings(data_dir=tmp_path)
    gateway = Gateway(settings)
    gateway.client = PublishingClient(topic)  # type: ignore[assignment]
    transport = httpx.ASGITransport(make_app(settings, gateway=gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/sessions/ada/stream?turn=t&after=0:-1:1")).status_code == 503
    place = topic.fanout._partitions[0]
    assert place.is_empty
    assert place.idle is not None


async def test_turn_that_goes_on_is_shown_to_its_end_and_no_further(topic: Topic) -> None:
    """What was taken to find that out is not lost."""
    topic.write("ada", "x")
    topic.write("ada", "y")
    write_end(topic)
    topic.write("ada", "of the next")
    reader = await open_at(topic, Cursor(0, 0, 1), "t")
    topic.pump()
    assert not await reader.has_ended()
    assert take_all(reader) == [(1, "0:1:1"), (2, "0:2:1")]
    assert reader.is_over


async def test_record_behind_the_cursor_that_came_first_is_not_lost(topic: Topic) -> None:
    """The record at the cursor is gone by retention."""
    topic.fill(2)
    topic.earliest = 2
    topic.write("ada", "x")
    reader = await open_at(topic, Cursor(0, 1, 1), "t")
    topic.pump()
    assert not await reader.has_ended()
    assert take_all(reader) == [(2, "0:2:1")]


async def test_reader_that_takes_nothing_is_cut_off_behind_what_it_has(topic: Topic) -> None:
    """It can go on from its last event."""
    reader = await open_at(topic, Cursor(0, -1), limit=2)
    for _ in range(5):
        topic.write("ada", "x")
        topic.pump()
        await asyncio.sleep(0)
    taken = [reader.take(), reader.take()]
    assert [shown.cursor.offset for shown in taken if shown] == [0, 1]
    with pytest.raises(SlowSubscriberError):
        reader.take()


async def test_pulse_beats_in_silence_and_gives_up_on_a_write_that_waits() -> None:
    """The one after the other."""
    beaten, given_up = asyncio.Event(), asyncio.Event()
    pulse = Pulse(beaten.set, given_up.set, heartbeat_s=0.01, send_timeout_s=0.02)
    await beaten.wait()
    assert not given_up.is_set()
    pulse.writing()
    await given_up.wait()
    pulse.stop()
