"""What a model call is asked with; and names of tool calls: endpoints leave ids out, repeat them, or send long ones."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.commands import UserMessage
from schemas.events import ToolCall
from streams.agent import Agent
from streams.providers.echo import EchoProvider
from streams.steps import MAX_CALLS, MAX_ID_CHARS, Steps, _named
from tests.functional.streams.test_lanes import incoming


@pytest.mark.parametrize(
    ("of_agent", "of_message", "expected"), [(None, None, None), (3, None, 3), (None, 2, 2), (3, 2, 2), (3, 4, 3)]
)
def test_answer_is_no_longer_than_agent_and_message_allow(
    of_agent: int | None, of_message: int | None, expected: int | None
) -> None:
    """The lower limit counts. Seen to fail with the agent's alone."""
    agent = Agent(name="a", model="echo", provider=EchoProvider(), max_tokens=of_agent)
    limits = {} if of_message is None else {"max_tokens": of_message}
    message = replace(incoming(), command=UserMessage(text="one two three four five", limits=limits))
    nothing: Any = SimpleNamespace(limits=SimpleNamespace(max_answer_chars=100))
    steps = Steps(nothing, agent, message, journal=nothing, stream=nothing, clock=nothing, trace=nothing)
    assert steps._max_tokens() == expected


@pytest.mark.parametrize(
    "ids",
    [["", ""], ["a", "a"], ["call-0-1", ""], ["", "call-0-0"], ["x" * (MAX_ID_CHARS + 1), "b"], ["call-0-2", "", ""]],
)
def test_named_every_call_has_an_id_of_its_own(ids: list[str]) -> None:
    """Two calls of one id would be one call to the fold, and the second would wait for ever."""
    named = [call.call_id for call in _named(0, [ToolCall(call_id=call_id, name="t") for call_id in ids])]
    assert len(named) == len(set(named)) == len(ids)
    assert all(0 < len(call_id) <= MAX_ID_CHARS for call_id in named)


def test_named_keeps_good_ids_and_bounds_the_calls() -> None:
    """What an endpoint names well stays, in order; what is beyond the bound is dropped."""
    calls = [ToolCall(call_id=f"c{n}", name="t", arguments=f"[{n}]") for n in range(MAX_CALLS + 3)]
    assert list(_named(3, calls)) == calls[:MAX_CALLS]
