"""When a topic is gone, and when nothing is known of it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from barnabas.topic_watch import CHECK_S, TopicWatch
from schemas.errors import TopicGoneError

GONE = KafkaError.UNKNOWN_TOPIC_OR_PART


class Broker:
    """Answers with what the test says, or not at all; the test moves the time."""

    def __init__(self) -> None:
        self.now = 0.0
        #: The topic's id, an error's code, or None for no answer.
        self.answer: str | int | None = "first"
        self.asked = 0

    def describe_topics(self, topics: Any, **_options: object) -> dict[str, Future[Any]]:
        """Answer at once."""
        self.asked += 1
        future: Future[Any] = Future()
        if isinstance(self.answer, str):
            future.set_result(SimpleNamespace(topic_id=self.answer))
        elif self.answer is not None:
            future.set_exception(KafkaException(KafkaError(self.answer)))
        return {topics.topic_names[0]: future} if hasattr(topics, "topic_names") else {"t.tokens": future}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Give a broker that a watch asks."""
    made = Broker()
    monkeypatch.setattr("barnabas.topic_watch.AdminClient", lambda _config: made)
    return made


def watch_for(broker: Broker, seconds: float, watch: TopicWatch) -> None:
    """Check ten times a second."""
    end = broker.now + seconds
    while broker.now < end:
        broker.now += 0.1
        watch.check()


@pytest.fixture
def watch(broker: Broker) -> TopicWatch:
    """Give a watch that knows its topic."""
    made = TopicWatch("t.tokens", {}, clock=lambda: broker.now)
    watch_for(broker, 2 * CHECK_S, made)
    return made


def test_topic_that_stays_is_asked_for_now_and_then(broker: Broker, watch: TopicWatch) -> None:
    """One request every ``CHECK_S``, not one a poll."""
    watch_for(broker, 10 * CHECK_S, watch)
    assert 10 <= broker.asked <= 12


def test_reader_that_ends_at_once_asks_nothing(broker: Broker) -> None:
    """A pass through the past takes milliseconds."""
    watch_for(broker, CHECK_S / 2, TopicWatch("t.tokens", {}, clock=lambda: broker.now))
    assert not broker.asked


def test_topic_deleted_is_gone(broker: Broker, watch: TopicWatch) -> None:
    """Who waits for its records hears of it."""
    broker.answer = GONE
    with pytest.raises(TopicGoneError, match=r"t\.tokens was deleted"):
        watch_for(broker, 3 * CHECK_S, watch)


def test_topic_made_anew_is_gone(broker: Broker, watch: TopicWatch) -> None:
    """Its offsets mean other records."""
    broker.answer = "second"
    with pytest.raises(TopicGoneError, match="made anew"):
        watch_for(broker, 3 * CHECK_S, watch)


def test_broker_that_just_started_may_not_know_the_topic_once(broker: Broker, watch: TopicWatch) -> None:
    """It is gone when it was not there twice in a row."""
    for answer in (GONE, "first", GONE, "first"):
        broker.answer = answer
        watch_for(broker, CHECK_S, watch)


@pytest.mark.parametrize("answer", [None, KafkaError._TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_broker_that_does_not_tell_ends_nothing(broker: Broker, watch: TopicWatch, answer: int | None) -> None:
    """Away, or not allowed to say: the reader waits, and the same topic is still there afterwards."""
    broker.answer = answer
    watch_for(broker, 5 * CHECK_S, watch)


def test_watch_begun_anew_takes_the_topic_that_is_there(broker: Broker, watch: TopicWatch) -> None:
    """Nobody was reading while it was made anew."""
    broker.answer = "second"
    watch.begin()
    watch_for(broker, 5 * CHECK_S, watch)
