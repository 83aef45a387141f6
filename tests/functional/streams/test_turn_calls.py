"""Foreign code around a turn that does not heed its end: context providers and evaluators."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.events import TurnCompleted
from schemas.session import Session
from streams.agent import Agent
from streams.calls import Calls
from streams.providers.echo import EchoProvider
from streams.providers.protocol import ChatMessage
from streams.tracing import NO_TRACING
from streams.turn import Turn
from tests.functional.streams.test_lanes import incoming


class _Deaf:
    """Swallows its cancellation, until the test lets it go."""

    name = "deaf"

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def provide(self, *_args: Any) -> list[ChatMessage]:
        """Never in time."""
        await self._wait()
        return [ChatMessage(role="system", content="too late")]

    async def evaluate(self, *_args: Any) -> None:
        """Never ends."""
        await self._wait()

    async def _wait(self) -> None:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue


class _Sound:
    name = "sound"

    def __init__(self) -> None:
        self.saw: list[str] = []

    async def provide(self, *_args: Any) -> list[ChatMessage]:
        """One message."""
        return [ChatMessage(role="system", content="a fact")]

    async def evaluate(self, _session: Any, _incoming: Any, outcome: TurnCompleted) -> None:
        """Note the answer."""
        self.saw.append(outcome.text)


def turn_of(agent: Agent) -> tuple[Turn, Calls]:
    """A turn of this agent, and what runs its calls."""
    calls = Calls(grace_s=0.01)
    env = SimpleNamespace(calls=calls, tracing=NO_TRACING, agents={"a": agent})
    return Turn(incoming(), SimpleNamespace(env=env, epoch=0, number=0)), calls  # type: ignore[arg-type]


def agent_of(**fields: Any) -> Agent:
    """An agent that asks and tells others."""
    return Agent(name="a", model="echo", provider=EchoProvider(), **fields)


def first_in_a_hurry(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Give an agent's first call next to no time, and the ones behind it all they need, however busy the machine."""
    times_s = itertools.chain((0.01,), itertools.repeat(60.0))
    monkeypatch.setattr(Agent, field, property(lambda _agent: next(times_s)))


async def test_context_provider_deaf_is_left_behind_the_others_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its turn for its time-out and the grace time, no longer."""
    deaf = _Deaf()
    turn, calls = turn_of(agent_of(context_providers=(deaf, _Sound())))
    first_in_a_hurry(monkeypatch, "context_timeout_s")
    async with asyncio.timeout(60):
        provided = await turn._provided(Session(session_id="s"))
    assert [message.content for message in provided] == ["a fact"]
    assert calls.left == 1
    assert "deaf" in caplog.text
    deaf.gate.set()
    await _all_ended(calls)


async def test_evaluator_deaf_or_hung_is_left_behind_the_next_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task, a turn and its stream are not kept for ever, one for each answer."""
    deaf, sound = _Deaf(), _Sound()
    turn, calls = turn_of(agent_of(evaluators=(deaf, sound)))
    first_in_a_hurry(monkeypatch, "evaluator_timeout_s")
    outcome = TurnCompleted(**turn.envelope("outcome"), decided_upto=0, text="hello", deltas=1)
    async with asyncio.timeout(60):
        await turn._evaluate(Session(session_id="s"), outcome)
    assert sound.saw == ["hello"]
    assert calls.left == 1
    deaf.gate.set()
    await _all_ended(calls)


async def _all_ended(calls: Calls) -> None:
    async with asyncio.timeout(60):
        while calls.left:  # noqa: ASYNC110 -- what is awaited has no event
            await asyncio.sleep(0.001)
