"""A topic that is deleted, or deleted and made anew, ends who reads it with a reason, instead of a wait without end.

Each fails with ``TopicWatch.check`` doing nothing: the streams hang.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from barnabas.fanout_feed import KafkaFeed
from barnabas.history.log import EventLog
from barnabas.reader import TopicReader
from schemas.errors import TopicGoneError
from tests.integration.client.conftest import client_of
from tests.support.deployment import Deployment
from tests.support.waiting import DEADLINE_S
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames


@pytest.fixture
def unserved(
    kafka: str, topic_names: TopicNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """Give the topics of a deployment without a worker, looked at ten times a second."""
    monkeypatch.setattr("barnabas.topic_watch.CHECK_S", 0.1)
    made = Deployment(kafka, topic_names, tmp_path)
    yield made
    made.close()


def delete(deployment: Deployment, topic: str) -> None:
    """Delete a topic behind everybody's back; the broker knows when this returns."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})  # its answers come while it lives
    admin.delete_topics([topic])[topic].result(DEADLINE_S)
    deployment.wait(lambda: topic not in admin.list_topics(timeout=DEADLINE_S).topics, "the topic is gone")


@pytest.mark.parametrize("is_made_anew", [False, True])
async def test_stream_on_a_topic_that_goes_ends_and_says_so(unserved: Deployment, *, is_made_anew: bool) -> None:
    """All subscriptions of the client end, and a later one begins with what is there then."""
    topic = unserved.names.tokens
    async with client_of(unserved) as client:
        streams = [await client.stream(f"s{number}").start() for number in range(3)]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        feed = client._readers()._live
        assert isinstance(feed, KafkaFeed)
        async with asyncio.timeout(DEADLINE_S):
            while feed._watch._id is None:  # noqa: ASYNC110 -- its thread learns it
                await asyncio.sleep(0.02)
            if is_made_anew:
                feed._watch._due = math.inf  # between two looks
            await asyncio.to_thread(delete, unserved, topic)
            if is_made_anew:
                specs = catalog(unserved.names, unserved.partitions)
                await asyncio.to_thread(ensure_topics, unserved.bootstrap_servers, specs)
                feed._watch._due = 0.0
            for one in waiting:
                with pytest.raises(TopicGoneError, match=f"{topic} was deleted{' and made anew' * is_made_anew}"):
                    await one
        if is_made_anew:
            async with client.stream("s0") as again:
                assert again.cursor is not None


def test_tail_and_followed_log_of_a_topic_that_goes_end_and_say_so(unserved: Deployment) -> None:
    """``tail``, ``events`` and ``replay --follow`` read like this."""
    tokens, events = unserved.names.tokens, unserved.names.events
    with TopicReader(unserved.bootstrap_servers, tokens) as reader:
        assert list(reader.forever(timeout_s=1.0)) == []
        delete(unserved, tokens)
        with pytest.raises(TopicGoneError, match=f"{tokens} was deleted"):
            list(reader.forever(timeout_s=DEADLINE_S))
    log = EventLog(events, {"bootstrap.servers": unserved.bootstrap_servers, "log_level": 0})
    try:
        followed = log.follow(0, 0)
        for _ in range(10):
            assert next(followed) == []
        delete(unserved, events)
        with pytest.raises(TopicGoneError, match=f"{events} was deleted"):
            list(islice(followed, 600))
    finally:
        log.close()
