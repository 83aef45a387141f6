"""More than the worker can do at once: what is admitted, what waits in Kafka, what is shed.

The test of shedding fails where ``Turn._is_late`` says no (all are answered), and with ``BARNABAS_TEST_OFF=dedupe``
(what comes again is decided again).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events import MessageRejected, TurnCancelled, TurnCompleted
from schemas.tokens import TokenKind
from streams.agent import Agent, Agents
from streams.pressure import BackPressure
from streams.providers.scripted import ScriptedProvider
from streams.token_stream import now_ms
from tests.support.deployment import PATIENT, SCRIPT, Deployment, LocalWorker
from tests.support.gated_provider import GatedProvider

Local = Callable[..., LocalWorker]


async def test_flood_more_turns_than_slots_the_rest_waits_in_kafka_and_none_fails(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 turns that hang, on 20 slots: 20 are taken from Kafka, and no more; let go, all are answered.

    Fails with ``BARNABAS_TEST_OFF=admission`` (all are taken at once).
    """
    room, most = BackPressure.room, 0

    def watched(self: BackPressure, consumer: Any) -> int:
        nonlocal most
        most = max(most, self._active())
        return room(self, consumer)

    monkeypatch.setattr(BackPressure, "room", watched)
    for number in range(60):
        deployment.publish(f"s{number}", f"gated {number}")
    deployment.flush()
    provider = GatedProvider(SCRIPT, calls_path=deployment.calls_path)
    agent = Agent(name="a", model="test", provider=provider, timeouts=PATIENT)
    async with local(agents=Agents({"a": agent}, default="a"), limits={"max_turns": 20}) as worker:
        await worker.until(lambda: most >= 20, "all slots are taken")
        provider.gate.set()
        await worker.until_answered()
        await worker.until_committed()
    assert {type(accepted.event) for accepted in deployment.log().outcomes.values()} == {TurnCompleted}
    assert most == 20
    await asyncio.to_thread(deployment.check)


async def test_flood_of_one_session_and_queue_of_one_agent_others_are_answered_meanwhile(
    deployment: Deployment, local: Local
) -> None:
    """A session's flood fills its own partition's part of the high-water mark, and nobody else's; an agent's queue too.

    150 messages of a session that hangs, and 20 for an agent with one slot that hangs; then, elsewhere, others.
    Fails with ``BARNABAS_TEST_OFF=fair_hold`` (the flood holds every partition: the others are never taken).
    """
    provider = ScriptedProvider(SCRIPT, calls_path=deployment.calls_path)
    slow = Agent(name="slow", model="test", provider=provider, timeouts=PATIENT, max_concurrent_turns=1)
    quick = Agent(name="quick", model="test", provider=provider, timeouts=PATIENT)
    async with local(
        agents=Agents({"slow": slow, "quick": quick}, default="quick"), limits={"high_water": 100, "low_water": 50}
    ) as worker:
        flood, queue = deployment.session_on(0, "flood"), deployment.session_on(1, "queue")
        deployment.publish(flood, "hang on", message_id="head")
        for number in range(150):
            deployment.publish(flood, f"fast {number}")
        deployment.publish(queue, "hang on", message_id="head", agent="slow")
        for number in range(20):
            deployment.publish(deployment.session_on(1, f"waits{number}"), "fast and slow", agent="slow")
        deployment.flush()
        await worker.until(lambda: worker.worker.pressure._is_flooded, "the mark is reached")
        others = []
        for number in range(60):
            others.append(deployment.session_on(2 + number % 2, f"other{number}"))
            deployment.publish(others[-1], f"fast {number}")
        deployment.flush()
        await worker.until(
            lambda: not {message.session_id for message in deployment.unanswered()} & {*others},
            "others are answered",
        )
        assert worker.worker.pressure._is_flooded
        for session in (flood, queue):
            deployment.control(session, type="cancel", message_id="head")
        await worker.until_answered()
        await worker.until_committed()
    assert {type(accepted.event) for accepted in deployment.log().outcomes.values()} == {TurnCompleted, TurnCancelled}
    await asyncio.to_thread(deployment.check)


async def test_shed_old_messages_are_rejected_young_ones_answered_and_decided_stays_decided(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty messages that waited too long get no turn, but an outcome and an error that says when to try again."""
    for number in range(20):
        deployment.publish(f"s{number}", f"fast {number}", message_id=f"m{number}")
    deployment.flush()
    old = {message.turn_id for message in deployment.published}
    monkeypatch.setattr("streams.shedding.now_ms", lambda: now_ms() + 1_200_000)
    async with local(limits={"shed_lag_s": 600.0}) as worker:
        await worker.until_answered()
        monkeypatch.setattr("streams.shedding.now_ms", now_ms)
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
    assert {(t.kind, t.cause, t.retry_after_ms) for t in ends} == {(TokenKind.FAILED, "overloaded", 600_000)}
    await asyncio.to_thread(deployment.check)
