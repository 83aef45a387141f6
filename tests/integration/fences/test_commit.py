"""F1, P1, P2, F2: what is committed, what blocks, what floods, what raises."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from faust.types import TP

from streams.intake import Intake
from streams.pressure import BackPressure
from tests.support.checker import Published
from tests.support.deployment import Deployment, LocalWorker
from tests.support.waiting import DEADLINE_S

Local = Callable[..., LocalWorker]


async def test_commit_offset_holes_never_passes_a_message_in_flight(deployment: Deployment, local: Local) -> None:
    """A transactional producer leaves holes in the offsets; a running turn holds the commit back all the same (F1).

    Fails with ``BARNABAS_TEST_OFF=ack_order``: the next owner never sees the message that was in flight.
    """
    sessions = [deployment.session_on(1, f"s{number}") for number in range(12)]
    transactional = {"transactional.id": deployment.names.prefix}
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers, **transactional})
    producer.init_transactions(DEADLINE_S)

    def publish(session: str, text: str) -> None:
        def confirmed(error: Any, message: Any) -> None:
            assert error is None
            known = f"{deployment.names.messages}-1-{message.offset()}"
            deployment.published.append(Published(session, known, text, 1, message.offset()))

        producer.begin_transaction()
        producer.produce(
            deployment.names.messages, json.dumps({"text": text}).encode(), session, 1, on_delivery=confirmed
        )
        producer.commit_transaction(DEADLINE_S)

    async with local() as worker:
        await asyncio.to_thread(publish, sessions[0], "hang on")
        for number, session in enumerate(sessions[1:]):
            await asyncio.to_thread(publish, session, f"fast {number}")
        assert [message.offset for message in deployment.published] == [*range(0, 24, 2)]
        await worker.until(lambda: len(deployment.log().outcomes) == 11, "all but one are answered")
        cursor = worker.worker.ownership.consumer.cursors[TP(deployment.names.messages, 1)]
        await worker.until(lambda: cursor.acks.pending == 1, "all but one are acknowledged")
        await worker.worker.ownership.consumer.commit_done()
        assert await asyncio.to_thread(deployment.committed, deployment.names.messages, 1) <= 0
        deployment.control(sessions[0], type="cancel", message_id=deployment.published[0].message_id)
        await worker.until_answered()
        await worker.until(lambda: cursor.committed >= 23, "the commit passes the hole")
    await asyncio.to_thread(deployment.check)


async def test_lane_blocked_other_lanes_and_topics_go_on(deployment: Deployment, local: Local) -> None:
    """Twenty turns that never end stop neither the other sessions, nor ``control``, nor ``events`` (P1)."""
    async with local() as worker:
        for number in range(20):
            deployment.publish(f"stuck{number}", "hang on", message_id=f"m{number}")
            deployment.publish(f"stuck{number}", "fast behind it")
        for number in range(200):
            deployment.publish(f"s{number % 50}", f"fast {number}")
        deployment.flush()
        await worker.until(lambda: len(deployment.log().outcomes) == 200, "the others are answered")
        for number in range(20):
            deployment.control(f"stuck{number}", type="cancel", message_id=f"m{number}")
        await worker.until_answered()
        await worker.until_committed()
    await asyncio.to_thread(deployment.check)


async def test_flood_beyond_high_water_all_delivered_memory_bounded(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 messages against a high-water mark of 100: fetching is held and released, and none is lost (P2, P2b).

    A session of each partition hangs until every partition is held. Fails with ``BARNABAS_TEST_OFF=back_pressure``
    (some 3,000 messages are begun at once) and ``pause_partitions`` (what was fetched of a held partition is never
    answered).
    """
    update, most, held = BackPressure.update, 0, set[int]()

    def watched(self: BackPressure, consumer: Any, **options: Any) -> None:
        nonlocal most, held
        update(self, consumer, **options)
        most = max(most, sum(c.acks.pending for tp, c in consumer.cursors.items() if tp.topic == consumer.bulk_topic))
        held = {tp.partition for tp in consumer.held if tp.topic == consumer.bulk_topic}

    monkeypatch.setattr(BackPressure, "update", watched)
    floods = [deployment.session_on(partition, "flood") for partition in range(deployment.partitions)]
    for session in floods:
        deployment.publish(session, "hang on", message_id="head")
    for number in range(60 * len(floods)):
        deployment.publish(floods[number % len(floods)], f"fast {number}")
    for number in range(3000):
        deployment.publish(f"s{number % 500}", f"fast {number}")
    deployment.flush()
    async with local(limits={"high_water": 100, "low_water": 50, "max_turns": 50}) as worker:
        await worker.until(lambda: len(held) == len(floods) or most > 100 + 500, "all partitions are held")
        for session in floods:
            deployment.control(session, type="cancel", message_id="head")
        await worker.until_answered()  # so they are released, too
        await worker.until_committed()
    report = await asyncio.to_thread(deployment.check)
    assert report.repeated_calls == 0
    assert most <= 100 + 500  # the mark and one poll


async def test_handler_raises_dead_letter_then_the_next_message(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in an agent's body would acknowledge the event and end the stream (F2): it never gets there."""
    checked = Intake._checked

    def raising(self: Intake, command: Any) -> str:
        if command.text == "boom":
            raise ZeroDivisionError("a bug")
        return checked(self, command)

    monkeypatch.setattr(Intake, "_checked", raising)
    async with local() as worker:
        key = deployment.session_on(1).encode()
        deployment.produce(deployment.names.messages, b'{"text": "boom"}', key)
        deployment.publish(key.decode(), "fast next")
        deployment.flush()
        await worker.until_answered()
        await worker.until(deployment.dead_letters, "a dead letter")
        await worker.until_committed()
    (letter,) = deployment.dead_letters()
    assert letter.cause == "internal"
    assert "a bug" in letter.detail
    assert letter.value == b'{"text": "boom"}'
