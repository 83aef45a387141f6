"""Turns that use tools: in the log and in the tokens; tools that hang, fail or do not exist; limits and cancels."""

import asyncio
from collections.abc import Callable
from typing import Any

from schemas.events import TurnCancelled, TurnCompleted, TurnFailed
from schemas.ids import turn_id_for
from schemas.tokens import TokenKind
from streams.agent import Agent, Agents
from streams.providers.scripted import Behaviour, Script, ScriptedProvider, ScriptedToolCall
from tests.support.deployment import PATIENT, Deployment, LocalWorker
from tests.support.effects import LET_GO, effect_tools

Local = Callable[..., LocalWorker]


def _call(name: str, **arguments: Any) -> ScriptedToolCall:
    return ScriptedToolCall(name, arguments)


NOTE = _call("note", text="x")
SCRIPT = Script(
    replies={
        "use": Behaviour(reply="got {results}", before_tools="one moment ", tools=((_call("thread", text="y"), NOTE),)),
        "hang": Behaviour(reply="got {results}", tools=((_call("hang"),), (_call("block"),))),
        "wrong": Behaviour(reply="got {results}", tools=((_call("nobody"), _call("broken"), _call("note", no=1)),)),
        "endless": Behaviour(reply="never", tools=((NOTE,),) * 10),
        "many": Behaviour(reply="got {results}", tools=((NOTE,) * 20,)),
        "plain *": Behaviour(reply="{user}"),
    }
)


def _agents(deployment: Deployment, **fields: Any) -> Agents:
    provider = ScriptedProvider(SCRIPT, calls_path=deployment.calls_path)
    tools = effect_tools(deployment.effects_path)
    return Agents(
        {"a": Agent(name="a", model="scripted", provider=provider, tools=tools, timeouts=PATIENT, **fields)},
        default="a",
    )


def _outcomes(deployment: Deployment) -> dict[str, Any]:
    log = deployment.log()
    return {m.text: log.outcomes[m.turn_id].event for m in deployment.published if m.turn_id in log.outcomes}


async def test_turn_with_tools_steps_in_the_log_and_the_tokens(deployment: Deployment, local: Local) -> None:
    """Text, two calls at once, their results, the answer; memory keeps what was said, usage is of all calls.

    A tool that hangs ends at its own time-out while other sessions of its partition go on; an unknown tool, one
    that raises and arguments that do not fit are told to the model.
    """
    session = deployment.session_on(0)
    LET_GO.clear()
    async with local(agents=_agents(deployment)) as worker:
        deployment.publish(session, "use")
        deployment.publish(session, "plain again")
        deployment.publish(deployment.session_on(0, "other"), "hang")
        for number in range(20):
            deployment.publish(deployment.session_on(0, f"n{number}"), f"plain {number}")
        deployment.publish("w", "wrong")
        deployment.publish("m", "many")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
        LET_GO.set()
    outcomes = _outcomes(deployment)
    used = outcomes["use"]
    assert isinstance(used, TurnCompleted)
    assert used.text == 'one moment got {"said":"thread y"}, note x'
    assert used.usage.prompt_tokens == 1 + 4
    assert outcomes["hang"].text.count("no result within 0.3 s") == 2
    assert outcomes["wrong"].text.startswith("got there is no tool 'nobody'; there are: note, again, thread")
    assert "ValueError: it broke, the arguments do not fit: Object contains unknown field" in outcomes["wrong"].text
    assert outcomes["many"].text.count("note x") == 16
    tokens = [token for token in deployment.tokens() if token.session_id == session][:9]
    assert [token.kind for token in tokens] == [
        TokenKind.STARTED, TokenKind.DELTA, TokenKind.DELTA, TokenKind.TOOL, TokenKind.TOOL, TokenKind.TOOL,
        TokenKind.TOOL, TokenKind.DELTA, TokenKind.DELTA,
    ]  # fmt: skip
    uses = [token.tool for token in tokens if token.tool is not None]
    assert [(use.name, use.result is not None) for use in uses[:2]] == [("thread", False), ("note", False)]
    assert {use.result for use in uses} == {None, "note x", '{"said":"thread y"}'}
    again = [call for call in deployment.calls() if call.messages[-1].content == "plain again"]
    assert [message.content for message in again[0].messages] == ["use", used.text, "plain again"]
    await asyncio.to_thread(deployment.check)


async def test_turn_with_tools_step_limit_deadline_and_cancel(deployment: Deployment, local: Local) -> None:
    """A model that only asks for tools fails; the turn's deadline and a cancel reach a running tool."""
    slow = Agents(
        {
            "a": Agent(
                name="a",
                model="scripted",
                provider=ScriptedProvider(Script(default=Behaviour(tools=((_call("sleep"),),)))),
                tools=(_sleep_tool(),),
            ),
            "b": _agents(deployment, max_steps=3)["a"],
        },
        default="a",
    )
    async with local(agents=slow) as worker:
        deployment.publish("e", "endless", agent="b")
        deployment.publish("d", "late", deadline_ms=500)
        deployment.publish("c", "cancelled", message_id="c")
        deployment.flush()
        running = turn_id_for("c", "c")
        await worker.until(lambda: running in {turn for turn, _ in deployment.log().tool_calls}, "its tool runs")
        deployment.control("c", type="cancel", message_id="c")
        await worker.until_answered()
        await worker.until_committed()
    outcomes = _outcomes(deployment)
    assert isinstance(outcomes["endless"], TurnFailed)
    assert outcomes["endless"].cause == "step_limit"
    assert isinstance(outcomes["late"], TurnFailed)
    assert outcomes["late"].cause == "turn_timeout"
    assert isinstance(outcomes["cancelled"], TurnCancelled)
    assert len(deployment.effects()) == 3
    await asyncio.to_thread(lambda: deployment.check(with_calls=False))


def _sleep_tool() -> Any:
    from streams.tools import tool

    @tool
    async def sleep() -> None:
        await asyncio.sleep(600)

    return sleep
