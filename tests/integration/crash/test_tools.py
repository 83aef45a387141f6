"""SIGKILL at every boundary of a step: no tool runs twice, and the turn goes on behind its last step."""

import pytest

from schemas.tokens import TokenKind
from streams.providers.scripted import Behaviour, Script, ScriptedToolCall
from streams.steps import INTERRUPTED
from tests.support.deployment import Deployment
from tests.support.faults import Faults

pytestmark = pytest.mark.crash


def _calls(name: str, step: int) -> tuple[ScriptedToolCall, ...]:
    return tuple(ScriptedToolCall(name, {"text": f"{step}{letter}"}) for letter in "ab")


SCRIPT = Script(
    replies={
        "once": Behaviour(
            reply="Found {results}.", tools=(_calls("note", 0), _calls("note", 1)), before_tools="Let me see. "
        ),
        "again": Behaviour(reply="Found {results}.", tools=(_calls("again", 0),), before_tools="Let me see. "),
        "two steps": Behaviour(
            reply="x" * 5, hang_after=1, tools=(_calls("note", 0), _calls("note", 1)), before_tools="I look. "
        ),
    },
)

#: Where each session's turn stands when its worker is killed: the boundary, its text, and what is kept of it.
PLACES = {"at-step": "step", "at-called": "called", "at-ran": "ran", "at-returned": "returned", "twice-ran": "ran"}


def test_kill_at_every_step_boundary_no_tool_runs_twice(deployment: Deployment) -> None:
    """Six turns stand at six places when their worker is killed; its next start answers all of them.

    A call that was made and did not return is told to the model as interrupted; an idempotent one is made again
    under the same key. The model calls that are in the log are not repeated: only the sixth turn's second one, which
    was cut off. Fails with ``BARNABAS_TEST_OFF=tool_log`` (tools run twice).
    """
    worker = deployment.start("w1", script=SCRIPT, faults=Faults(hold_at=PLACES))
    worker.wait_ready()
    for session in PLACES:
        deployment.publish(session, "again" if session == "twice-ran" else "once")
    deployment.publish("at-model", "two steps")
    deployment.flush()

    def is_in_place() -> bool:
        runs = [effect.session_id for effect in deployment.effects()]
        third = [call for call in deployment.calls() if call.session_id == "at-model"]
        counts = {session: runs.count(session) for session in [*PLACES, "at-model"]}
        log = deployment.log()
        logged = len(log.starts), log.steps.total(), len(log.tool_calls), len(log.tool_results)
        return len(third) == 3 and logged == (6, 7, 12, 6) and counts == {
            "at-step": 0, "at-called": 0, "at-ran": 2, "at-returned": 2, "twice-ran": 2, "at-model": 4,
        }  # fmt: skip

    deployment.wait(is_in_place, "all six turns stand at their places")
    deployment.kill(worker)
    calm = Script(
        replies={
            **SCRIPT.replies,
            "two steps": Behaviour(reply="Done {results}", tools=SCRIPT.replies["two steps"].tools),
        }
    )
    again = deployment.start("w1", script=calm)
    deployment.wait_answered()
    deployment.wait_committed()
    assert again.stop() == 0
    report = deployment.check()
    assert report.cut_off == 6
    answers = {token.session_id: token.text for token in deployment.tokens() if token.kind is TokenKind.COMPLETED}
    first, second = "note 0a, note 0b", "note 1a, note 1b"
    cut_off = f"{INTERRUPTED}, {INTERRUPTED}"
    assert answers == {
        "at-step": f"Let me see. Let me see. Found {first}, {second}.",
        "at-called": f"Let me see. Let me see. Found {cut_off}, {second}.",
        "at-ran": f"Let me see. Let me see. Found {cut_off}, {second}.",
        "at-returned": f"Let me see. Let me see. Found {first}, {second}.",
        "twice-ran": "Let me see. Found again 0a, again 0b.",
        "at-model": f"I look. I look. Done {first}, {second}",
    }
    effects = deployment.effects()
    repeated = [effect for effect in effects if effect.session_id == "twice-ran"]
    assert len(repeated) == 4
    assert len({effect.key for effect in repeated}) == 2
    calls = [call.session_id for call in deployment.calls()]
    assert {session: calls.count(session) for session in answers} == {
        "at-step": 3, "at-called": 3, "at-ran": 3, "at-returned": 3, "twice-ran": 2, "at-model": 4,
    }  # fmt: skip
