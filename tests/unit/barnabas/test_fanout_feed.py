"""The Kafka side of the fan-out: what ends a reader, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from barnabas.fanout_feed import Feed, FeedRecord, KafkaFeed


class Heard:
    """Keeps what a feed says."""

    def __init__(self) -> None:
        self.failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.offsets: asyncio.Queue[int] = asyncio.Queue()

    def records(self, _feed: Feed, records: list[FeedRecord]) -> None:
        """Keep their offsets."""
        for record in records:
            self.offsets.put_nowait(record.offset)

    def out_of_range(self, _feed: Feed, partition: int) -> None:
        """Fail: nothing here is out of range."""
        raise AssertionError(partition)

    def failed(self, _feed: Feed, error: Exception) -> None:
        """Keep the error."""
        self.failure.set_result(error)


class OneMessage:
    """A message, or an error in its place."""

    def __init__(self, code: int | None) -> None:
        self._error = None if code is None else KafkaError(code)

    def error(self) -> KafkaError | None:
        """Say what is wrong."""
        return self._error

    def partition(self) -> int:
        """Name the partition."""
        return 0

    def offset(self) -> int:
        """Name the offset."""
        return 7

    def key(self) -> None:
        """Have none."""

    def value(self) -> None:
        """Have none."""


def consumer_of(messages: Iterator[OneMessage]) -> Any:
    """Make a class of consumers that give these and then nothing."""

    class ListConsumer:
        def __init__(self, _config: object) -> None:
            pass

        def poll(self, _timeout: float) -> OneMessage | None:
            return next(messages, None)

        def consume(self, _count: int, _timeout: float) -> list[OneMessage]:
            return []

        def incremental_assign(self, _places: object) -> None:
            pass

        def close(self) -> None:
            pass

    return ListConsumer


@pytest.mark.parametrize(
    "code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC]
)
async def test_feed_that_will_never_read_again_says_so(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No right to read, no topic any more: librdkafka tells it once, and then nothing comes for ever."""
    monkeypatch.setattr("barnabas.fanout_feed.Consumer", consumer_of(iter([OneMessage(code)])))
    heard = Heard()
    feed = KafkaFeed("t.tokens", {}, heard)
    feed.read(0, 0)
    async with asyncio.timeout(60):
        assert KafkaError(code).str() in str(await heard.failure)
    await feed.close()


async def test_feed_outlives_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client comes back by itself, and the records follow."""
    codes = [KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError.LEADER_NOT_AVAILABLE]
    messages = iter([OneMessage(code) for code in [*codes, None]])
    monkeypatch.setattr("barnabas.fanout_feed.Consumer", consumer_of(messages))
    heard = Heard()
    feed = KafkaFeed("t.tokens", {}, heard)
    feed.read(0, 0)
    async with asyncio.timeout(60):
        assert await heard.offsets.get() == 7
    assert not heard.failure.done()
    await feed.close()
