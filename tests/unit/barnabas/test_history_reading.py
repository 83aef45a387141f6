"""The reading side of the history, over a consumer that is told what to say: ends, stops, threads, other sessions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from barnabas.connection import Connection
from barnabas.history.archive import Archive
from barnabas.history.history import History
from barnabas.history.log import EventLog
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.replay import Replay
from barnabas.history.spilled import SpilledSessions
from schemas.errors import ClientError
from schemas.serdes import Codec
from schemas.session import Session
from topics.names import TopicNames

CODEC = Codec()


class Record:
    """A message of librdkafka's; with an error code, an event of it."""

    def __init__(self, offset: int, key: bytes | None = b"ada", error: int | None = None) -> None:
        self._offset, self._key, self._error = offset, key, error

    def offset(self) -> int:
        """As librdkafka's."""
        return self._offset

    def key(self) -> bytes | None:
        """As librdkafka's."""
        return self._key

    def error(self) -> KafkaError | None:
        """As librdkafka's."""
        return None if self._error is None else KafkaError(self._error)


class TellingConsumer:
    """Gives out batches one by one, then nothing."""

    def __init__(self, *batches: list[Record]) -> None:
        self._batches = list(batches)
        self.is_read = threading.Event()

    def assign(self, places: list[Any]) -> None:
        """Begin."""

    def unassign(self) -> None:
        """End."""

    def close(self) -> None:
        """Let it go."""

    def consume(self, count: int, timeout: float) -> list[Record]:
        """Give the next batch."""
        self.is_read.set()
        return self._batches.pop(0) if self._batches else []


def log_of(consumer: TellingConsumer, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """Make a log that reads with it."""
    monkeypatch.setattr(EventLog, "_consumer", lambda _self, **_more: consumer)
    return EventLog("t-events", {})


def archive_of(consumer: TellingConsumer, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Archive:
    """Make an archive that reads with it."""
    monkeypatch.setattr(EventLog, "_consumer", lambda _self, **_more: consumer)
    return Archive(Connection("", TopicNames("t"), 1, {}, CODEC, folder))


def test_read_goes_on_behind_an_end_that_is_not_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that lags says the partition ends early: what follows would be missing from the index for ever."""
    ends = KafkaError._PARTITION_EOF
    consumer = TellingConsumer([Record(0), Record(1, error=ends)], [Record(1)], [Record(4, error=ends)])
    batches = log_of(consumer, monkeypatch).read(0, 0, 4)
    assert [message.offset() for batch in batches for message in batch] == [0, 1]


async def test_closing_ends_a_reading_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C while a partition is indexed: the question is cancelled, the thread that reads has to hear of it."""
    consumer = TellingConsumer()
    archive = archive_of(consumer, monkeypatch, tmp_path)
    asked = asyncio.create_task(archive.ask(lambda history: list(history.log.read(0, 0, 10))))
    assert await asyncio.to_thread(consumer.is_read.wait, 60)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    async with asyncio.timeout(60):
        await archive.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("barnabas-history")]


async def test_closing_tells_who_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rather than leaving them without one."""
    consumer = TellingConsumer()
    archive = archive_of(consumer, monkeypatch, tmp_path)
    asked = asyncio.create_task(archive.ask(lambda history: list(history.log.read(0, 0, 10))))
    assert await asyncio.to_thread(consumer.is_read.wait, 60)
    async with asyncio.timeout(60):
        await archive.close()
    with pytest.raises(ClientError, match="closed"):
        await asked


async def test_many_questions_leave_the_default_executor_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program's own ``asyncio.to_thread`` goes on while the log is read."""
    archive = archive_of(TellingConsumer(), monkeypatch, tmp_path)
    release = threading.Event()
    asked = [asyncio.create_task(archive.ask(lambda _history: release.wait(60))) for _ in range(100)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):  # less than the questions take
        assert await asyncio.to_thread(lambda: True)
    release.set()
    assert all(await asyncio.gather(*asked))
    await archive.close()


async def test_following_a_session_judges_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each other session would be loaded from Kafka and kept, and one of a newer version would end it."""
    judged: list[bytes | None] = []

    class Noting:
        def judge(self, message: Record) -> LoggedEvent:
            judged.append(message.key())
            return LoggedEvent(
                partition=0, offset=message.offset(), timestamp_ms=0, event=None, verdict=None, error="none"
            )

        def close(self) -> None:
            """Nothing is held."""

    def follow(_self: EventLog, _partition: int, _first: int) -> Iterator[list[Record]]:
        yield [Record(0, b"bob"), Record(1, None), Record(2, b"ada"), Record(3, b"carl")]

    monkeypatch.setattr(EventLog, "follow", follow)
    monkeypatch.setattr(History, "start_of", lambda *_: 0)
    monkeypatch.setattr(History, "end_of", lambda *_: 0)
    monkeypatch.setattr(History, "events", lambda *_: iter(()))
    monkeypatch.setattr(History, "judge", lambda *_: Noting())
    replay = Replay(
        Connection("", TopicNames("t"), 1, {}, CODEC, tmp_path),
        key=b"ada", partition=None, start=None, end=None, follow=True, speed="max", on_progress=None,
    )  # fmt: skip
    assert [event.offset async for event in replay.events()] == [2]
    assert judged == [None, b"ada"]


def test_spilled_sessions_come_back_whole() -> None:
    """However many there are, few stay in memory; the newest value counts."""
    spilled = SpilledSessions(CODEC, limit=3)
    for turns in (1, 2):
        for number in range(20):
            spilled[b"%d" % number] = Session(session_id=str(number), turns=turns)
            assert spilled.in_memory <= 3
    assert spilled.get(b"none") is None
    assert [spilled.get(b"%d" % number) for number in range(20)] == [
        Session(session_id=str(number), turns=2) for number in range(20)
    ]
    assert spilled.in_memory == 3
    spilled.close()


class PositionedConsumer(TellingConsumer):
    """Reads a partition in which every offset holds a record."""

    def __init__(self) -> None:
        super().__init__()
        self.position: int | None = None

    def assign(self, places: list[Any]) -> None:
        """Go there."""
        assert self.position is None, "it is still needed elsewhere"
        self.position = places[0].offset

    def unassign(self) -> None:
        """Stop."""
        self.position = None

    def consume(self, count: int, timeout: float) -> list[Record]:
        """Give a few records."""
        assert self.position is not None
        first, self.position = self.position, self.position + min(count, 7)
        return [Record(offset) for offset in range(first, self.position)]


@pytest.mark.parametrize("taken", [1000, 3])
def test_fetch_gives_each_record_in_order(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """Far ones and near ones in turn, by several consumers; also where the first few are enough."""
    made: list[PositionedConsumer] = []

    def make(_self: EventLog, **_more: object) -> PositionedConsumer:
        made.append(PositionedConsumer())
        return made[-1]

    monkeypatch.setattr(EventLog, "_consumer", make)
    far = range(0, 100_000, 9_000)
    offsets = sorted({*far, *range(20_000, 22_000, 50), *range(40_000, 43_000, 100), 20_001, 99_998})
    fetched = EventLog("t-events", {}).fetch(0, offsets)
    assert [message.offset() for message, _ in zip(fetched, range(taken), strict=False)] == offsets[:taken]
    fetched.close()  # type: ignore[attr-defined]
    assert 1 < len(made) <= 5
    assert all(consumer.position is None for consumer in made)
