"""The judge sees an outcome that nobody asked for, a failure without a reason, and an answer to somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.doctored import Doctored
from tests.chaos.judge import judge
from tests.chaos.load import Action


def _kinds(run: Doctored, **evidence: Any) -> set[str]:
    return set(judge(run.evidence(**evidence)).violations)


def _opened() -> Doctored:
    run = Doctored()
    run.open()
    return run


@pytest.mark.parametrize(
    ("mark", "found"),
    [(Action.CANCELLED, set()), (Action.PLAIN, {"outcome"}), (Action.ERASE, {"outcome"}), (Action.FLOOD, {"outcome"})],
)
def test_judge_cancelled_though_nobody_cancelled_it_reported(mark: str, found: set[str]) -> None:
    """Only the messages that the load cancels may be."""
    run = _opened()
    run.stop("a", run.publish("a", mark=mark))
    assert _kinds(run) == found


@pytest.mark.parametrize(("mark", "found"), [(Action.ERASE, set()), (Action.FLOOD, set()), (Action.PLAIN, {"outcome"})])
def test_judge_erased_though_nobody_ordered_it_reported(mark: str, found: set[str]) -> None:
    """The memory of a session went without an order."""
    run = _opened()
    run.erase("a", run.publish("a", mark=mark))
    assert _kinds(run) == found


def test_judge_order_to_erase_answered_by_the_model_reported() -> None:
    """It is an order, and no question."""
    run = _opened()
    source = run.publish("a", mark=Action.ERASE)
    run.complete("a", source, run.start("a", source))
    assert _kinds(run) == {"outcome"}


@pytest.mark.parametrize(
    ("cause", "found"),
    [
        ("provider_failed", set()),
        ("turn_timeout", set()),
        ("internal", {"failed"}),
        ("store", {"failed"}),
        ("delivery_unknown", {"failed"}),
    ],
)
def test_judge_turn_failed_for_another_reason_than_the_model_reported(cause: str, found: set[str]) -> None:
    """What is the worker's own fault is no answer."""
    run = _opened()
    run.fail("a", run.publish("a"), cause)
    assert _kinds(run) == found


@pytest.mark.parametrize(
    ("text", "call", "found"),
    [
        (" c0.0 c0.1", {}, set()),
        (" c0.0 c0.1 c1.0", {}, set()),
        (" c0.0 c0.1", {"asked": "another"}, {"answer"}),
        (" c0.0 c0.1", {"mood": "truncated"}, {"answer"}),
        (" c0.0 c0.1", {"tokens": 3}, {"answer"}),
        (" c0.1 c0.0", {}, {"answer"}),
        (" c0.0 c0.0 c0.1", {}, {"answer"}),
        (" c7.0", {}, {"answer"}),
        ("out of thin air", {}, {"answer"}),
    ],
)
def test_judge_answer_that_the_model_did_not_give_to_this_message_reported(
    text: str, call: dict[str, Any], found: set[str]
) -> None:
    """Whole, in order, and to nobody else."""
    run = _opened()
    run.answer("a", text)
    said = {"call": 0, "mood": "normal", "tokens": 2, "asked": "a", "is_second": False, **call}
    second = {"call": 1, "mood": "normal", "tokens": 1, "asked": "a", "is_second": True}
    assert _kinds(run, calls=[said, second]) == found
