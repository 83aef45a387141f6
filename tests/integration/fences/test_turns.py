"""Turns that do not simply end: cancelled, late, refused, beyond their limits; context providers and evaluators."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from schemas.events import TurnCancelled, TurnCompleted, TurnFailed
from schemas.tokens import TokenKind
from streams.agent import Agent, Agents
from streams.partition import Partition
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest
from streams.providers.scripted import Behaviour, Script, ScriptedError, ScriptedProvider
from tests.support.deployment import PATIENT, SCRIPT, Deployment, LocalWorker
from topics.partitioner import partition_for

Local = Callable[..., LocalWorker]


def _outcome(deployment: Deployment, text: str) -> Any:
    message = next(message for message in deployment.published if message.text == text)
    accepted = deployment.log().outcomes.get(message.turn_id)
    return accepted.event if accepted is not None else None


def _agents(deployment: Deployment, provider: Any = None, **fields: Any) -> Agents:
    provider = provider or ScriptedProvider(SCRIPT, calls_path=deployment.calls_path)
    return Agents({"a": Agent(name="a", model="test", provider=provider, timeouts=PATIENT, **fields)}, default="a")


async def test_cancel_running_waiting_finished_unknown_and_early(deployment: Deployment, local: Local) -> None:
    """A running turn ends at once, a waiting one never calls its model, a finished one stays, an early cancel waits."""
    async with local() as worker:
        deployment.publish("s", "hang on", message_id="running")
        deployment.publish("s", "fast waiting", message_id="waiting")
        deployment.publish("s", "fast last", message_id="last")
        deployment.flush()
        await worker.until(lambda: [t for t in deployment.tokens() if t.kind is TokenKind.DELTA], "the first token")
        for _ in range(2):  # the second one finds it in no lane any more, and must not hold back the commit
            deployment.control("s", type="cancel", message_id="waiting", reason="changed my mind")
        await worker.until(lambda: _outcome(deployment, "fast waiting"), "the waiting one is cancelled")
        assert _outcome(deployment, "hang on") is None
        deployment.control("s", type="cancel", message_id="running")
        await worker.until(lambda: _outcome(deployment, "fast last"), "the lane goes on")
        deployment.control("s", type="cancel", message_id="last")
        deployment.control("s", type="cancel", message_id="early")
        await worker.until_committed(topics=(deployment.names.messages, deployment.names.events))
        deployment.publish("s", "fast early", message_id="early")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    running, waiting = _outcome(deployment, "hang on"), _outcome(deployment, "fast waiting")
    assert isinstance(running, TurnCancelled)
    assert running.text == "never"
    assert isinstance(waiting, TurnCancelled)
    assert waiting.reason == "changed my mind"
    assert isinstance(_outcome(deployment, "fast last"), TurnCompleted)
    assert isinstance(_outcome(deployment, "fast early"), TurnCancelled)
    called = [call.messages[-1].content for call in deployment.calls()]
    assert called == ["hang on", "fast last"]
    await asyncio.to_thread(deployment.check)


async def test_cancel_waiting_worker_ends_before_its_terminal_token_the_next_owner_sends_it(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is in the log, its readers never heard of it; message and cancel are delivered again.

    The next owner must repeat the outcome and not cancel the waiting message once more, which the fold rejects.
    """
    with monkeypatch.context() as silent:
        silent.setattr(Partition, "send_terminal", lambda *_args: None)
        async with local(limits={"drain_timeout_s": 0.1}) as worker:
            deployment.publish("s", "hang on", message_id="running")
            deployment.publish("s", "fast waiting", message_id="waiting")
            deployment.flush()
            await worker.until(deployment.calls, "the first one runs")
            deployment.control("s", type="cancel", message_id="waiting")
            await worker.until(lambda: _outcome(deployment, "fast waiting"), "the waiting one is cancelled")
    async with local() as worker:
        await worker.until(lambda: len(deployment.calls()) == 2, "the first one runs again, the other waits behind it")
        deployment.control("s", type="cancel", message_id="waiting")
        deployment.control("s", type="cancel", message_id="running")
        await worker.until_answered()
        await worker.until_committed()
    assert sum(deployment.log().rejected.values()) == 0
    await asyncio.to_thread(deployment.check)


async def test_cancel_early_next_message_decided_at_once_the_cancelled_one_keeps_its_outcome(
    deployment: Deployment, local: Local
) -> None:
    """A cancelled message and an erase come together: the erase is decided without waiting for anything.

    Its event says that all before it is decided, so the cancel has to lie before it in the log, or the fold rejects
    it and the message has no outcome (found by ``tests/chaos``).
    """
    async with local() as worker:
        partition = worker.worker.ownership.partitions[partition_for(b"s", deployment.partitions)]
        deployment.control("s", type="cancel", message_id="early")
        await worker.until(lambda: partition._early_cancels, "the cancel is remembered")
        deployment.publish("s", "fast early", message_id="early")
        deployment.publish("s", "", message_id="erase", type="erase")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
        decided = [decision.message_id for decision in partition.load(b"s").recent]
    assert decided == ["early", "erase"]
    await asyncio.to_thread(deployment.check)


async def test_cancel_nobody_comes_for_is_forgotten_and_acknowledged(deployment: Deployment, local: Local) -> None:
    """A cancel of an unknown target holds its acknowledgement for a turn's longest time, no longer."""
    async with local(limits={"turn_timeout_s": 1.0}) as worker:
        deployment.control("s", type="cancel", message_id="nobody")
        await worker.until_committed(topics=(deployment.names.control,))


async def test_agents_share_taken_the_next_turn_waits_and_may_be_cancelled(
    deployment: Deployment, local: Local
) -> None:
    """An agent's one slot, held for longer than a turn may take: who waits for it is not failed, nor timed.

    Seen to fail with ``turn_timeout_s`` around the wait (those that wait are not answered).
    """
    agents = _agents(deployment, max_concurrent_turns=1)
    async with local(agents=agents, limits={"turn_timeout_s": 3.0}) as worker:
        pool, ownership = worker.worker.env.pool, worker.worker.ownership
        async with pool.slot(agents["a"]):  # as a turn that hangs would
            deployment.publish("a", "fast one")
            deployment.publish("b", "fast two", message_id="m")
            deployment.flush()
            await worker.until(lambda: pool.waiting_for_agent == 2, "they wait")
            assert sum(len(partition.waiting_for_slot) for partition in ownership.partitions.values()) == 2
            deployment.control("b", type="cancel", message_id="m")
            await worker.until(lambda: _outcome(deployment, "fast two"), "the cancelled one does not wait")
            assert pool.waiting_for_agent == 1
            await asyncio.sleep(3.5)
            assert pool.waiting_for_agent == 1
        await worker.until_answered()
        await worker.until_committed()
        assert pool.waiting_for_agent == 0
        assert not any(partition.waiting_for_slot for partition in ownership.partitions.values())
    assert isinstance(_outcome(deployment, "fast one"), TurnCompleted)
    assert isinstance(_outcome(deployment, "fast two"), TurnCancelled)
    await asyncio.to_thread(deployment.check)


class _BuggyProvider:
    name = "buggy"

    async def warm(self) -> None:
        """Nothing."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """One delta, then a bug."""
        yield ModelDelta("half ")
        raise ZeroDivisionError("a bug")

    async def close(self) -> None:
        """Nothing."""


async def test_provider_fails_turn_failed_with_the_cause_then_the_next_turn(
    deployment: Deployment, local: Local
) -> None:
    """Refused, unavailable, timed out, empty, and broken off after two chunks; the session goes on after each."""
    script = Script(
        replies={
            "refused": Behaviour(error=ScriptedError("refused")),
            "unavailable": Behaviour(error=ScriptedError("unavailable")),
            "timeout": Behaviour(error=ScriptedError("timeout")),
            "broken": Behaviour(error=ScriptedError("unavailable", after_chunks=2)),
            "empty": Behaviour(reply=""),
            "fast *": Behaviour(reply="{user}!"),
        }
    )
    expected = {
        "refused": "provider_failed",
        "unavailable": "provider_unavailable",
        "timeout": "provider_timeout",
        "broken": "provider_unavailable",
        "empty": "provider_failed",
    }
    async with local(script=script) as worker:
        for text in expected:
            deployment.publish("s", text)
            deployment.publish("s", f"fast after {text}")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    for text, cause in expected.items():
        failed = _outcome(deployment, text)
        assert isinstance(failed, TurnFailed), text
        assert failed.cause == cause, text
        assert isinstance(_outcome(deployment, f"fast after {text}"), TurnCompleted)
    await asyncio.to_thread(deployment.check)


async def test_provider_raises_anything_turn_failed(deployment: Deployment, local: Local) -> None:
    """A bug in a provider is that turn's failure, and nobody else's."""
    async with local(agents=_agents(deployment, _BuggyProvider())) as worker:
        deployment.publish("s", "one")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    failed = _outcome(deployment, "one")
    assert isinstance(failed, TurnFailed)
    assert "a bug" in failed.detail
    await asyncio.to_thread(deployment.check, with_calls=False)


async def test_deadline_passes_turn_failed_with_turn_timeout(deployment: Deployment, local: Local) -> None:
    """The message's own deadline, and the worker's limit."""
    async with local(limits={"turn_timeout_s": 1.0}) as worker:
        deployment.publish("a", "hang on", deadline_ms=200)
        deployment.publish("b", "hang on too")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    for text in ("hang on", "hang on too"):
        failed = _outcome(deployment, text)
        assert isinstance(failed, TurnFailed)
        assert failed.cause == "turn_timeout"
    await asyncio.to_thread(deployment.check)


class _Fact:
    name = "fact"

    async def provide(self, *_args: Any) -> list[ChatMessage]:
        """One message."""
        return [ChatMessage(role="system", content="a fact")]


class _SlowContext:
    name = "slow"

    async def provide(self, *_args: Any) -> list[ChatMessage]:
        """Never answers."""
        await asyncio.get_running_loop().create_future()
        return []


class _BrokenContext:
    name = "broken"

    async def provide(self, *_args: Any) -> list[ChatMessage]:
        """Fails."""
        raise ZeroDivisionError("a bug")


async def test_context_providers_slow_and_broken_ones_are_left_out(deployment: Deployment, local: Local) -> None:
    """What comes in time stands before the user's message, in order."""
    agents = _agents(
        deployment,
        system_prompt="be brief",
        context_providers=(_SlowContext(), _Fact(), _BrokenContext(), _Fact()),
        context_timeout_s=2.0,
    )
    async with local(agents=agents) as worker:
        deployment.publish("s", "fast one")
        deployment.flush()
        await worker.until_answered()
    assert [m.content for m in deployment.calls()[0].messages] == ["be brief", "a fact", "a fact", "fast one"]
    await asyncio.to_thread(deployment.check)


class _SlowEvaluator:
    name = "slow"

    def __init__(self) -> None:
        self.began = 0
        self.gate = asyncio.Event()
        self.saw: list[str] = []

    async def evaluate(self, _session: Any, _incoming: Any, outcome: TurnCompleted) -> None:
        """Wait for the test."""
        self.began += 1
        await self.gate.wait()
        self.saw.append(outcome.text)


class _BrokenEvaluator:
    name = "broken"

    async def evaluate(self, *_args: Any) -> None:
        """Fails."""
        raise ZeroDivisionError("a bug")


async def test_evaluator_never_delays_an_answer_nor_the_next_turn(
    deployment: Deployment, local: Local, caplog: pytest.LogCaptureFixture
) -> None:
    """Two turns of one session are answered and acknowledged while the first one's evaluator still looks at it."""
    slow = _SlowEvaluator()
    async with local(agents=_agents(deployment, evaluators=(_BrokenEvaluator(), slow))) as worker:
        deployment.publish("s", "fast one")
        deployment.publish("s", "fast two")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
        await worker.until(lambda: slow.began == 2, "both are looked at")
        assert slow.saw == []
        slow.gate.set()
        await worker.until(lambda: sorted(slow.saw) == ["fast one!", "fast two!"], "the evaluators end")
    await asyncio.to_thread(deployment.check)


async def test_message_published_twice_is_answered_once(deployment: Deployment, local: Local) -> None:
    """The user's idempotency key: one turn, one model call, and the terminal token again for whoever waits for it."""
    async with local() as worker:
        for _ in range(3):
            deployment.publish("s", "fast one", message_id="same")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
        deployment.publish("s", "fast one", message_id="same")
        deployment.flush()
        await worker.until_committed()
    report = await asyncio.to_thread(deployment.check)
    assert report.messages == 1
    assert len(deployment.calls()) == 1
    assert sum(token.kind is TokenKind.COMPLETED for token in deployment.tokens()) == 4
