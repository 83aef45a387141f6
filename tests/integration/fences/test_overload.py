"""More than the worker can do at once: what is admitted, what waits in Kafka, what is shed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events import MessageRejected, TurnCompleted
from schemas.tokens import TokenKind
from streams.pressure import BackPressure
from tests.support.deployment import Deployment, LocalWorker

Local = Callable[..., LocalWorker]


async def test_flood_more_turns_than_slots_the_rest_waits_in_kafka_and_none_fails(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 turns of a second on 20 slots, and a turn may wait for a slot for half a second: all are answered.

    Fails with ``BARNABAS_TEST_OFF=admission`` (those that were taken too early fail: ``pool_timeout``).
    """
    room, most = BackPressure.room, 0

    def watched(self: BackPressure, consumer: Any) -> int:
        nonlocal most
        most = max(most, self._active())
        return room(self, consumer)

    monkeypatch.setattr(BackPressure, "room", watched)
    for number in range(60):
        deployment.publish(f"s{number}", f"medium {number}")
    deployment.flush()
    async with local(limits={"max_turns": 20, "pool_timeout_s": 0.5}) as worker:
        await worker.until_answered(30)
        await worker.until_committed()
    assert {type(accepted.event) for accepted in deployment.log().outcomes.values()} == {TurnCompleted}
    assert 10 < most <= 20
    await asyncio.to_thread(deployment.check)


async def test_shed_old_messages_are_rejected_young_ones_answered_and_decided_stays_decided(
    deployment: Deployment, local: Local
) -> None:
    """Twenty messages that waited too long get no turn, but an outcome and an error that says when to try again."""
    for number in range(20):
        deployment.publish(f"s{number}", f"fast {number}", message_id=f"m{number}")
    deployment.flush()
    old = {message.turn_id for message in deployment.published}
    time_passed = asyncio.Event()
    asyncio.get_running_loop().call_later(2.1, time_passed.set)
    await time_passed.wait()
    async with local(limits={"shed_lag_s": 2.0}) as worker:
        await worker.until_answered()
        for number in range(20):
            deployment.publish(f"s{number}", "fast and young")
        deployment.flush()
        await worker.until_answered()
        deployment.publish("s1", "fast 1", message_id="m1")  # the same again: decided
        deployment.flush()
        await worker.until_committed()
        (figures,) = worker.worker.env.figures.agents.values()
        assert (figures.outcomes["rejected"], figures.outcomes["completed"]) == (20, 20)
    outcomes = {turn: accepted.event for turn, accepted in deployment.log().outcomes.items()}
    assert {turn for turn, event in outcomes.items() if isinstance(event, MessageRejected)} == old
    assert {event.reason for turn, event in outcomes.items() if turn in old} == {"overloaded"}
    assert {call.messages[-1].content for call in deployment.calls()} == {"fast and young"}
    ends = [token for token in deployment.tokens() if token.turn_id in old]
    assert len(ends) == 21
    assert {(t.kind, t.cause, t.retry_after_ms) for t in ends} == {(TokenKind.FAILED, "overloaded", 2000)}
    await asyncio.to_thread(deployment.check)
