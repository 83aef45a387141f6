"""What the tests' own checker makes of model calls: who could know that a turn was decided, or being decided."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.attempt import Attempt
from schemas.events import PartitionOpened, TurnCompleted, TurnStarted
from schemas.ids import turn_id_for
from schemas.serdes import Codec
from streams.providers.scripted import ScriptedCall
from tests.support.checker import Published, Report, check_run
from tests.support.topic_reader import Read

MESSAGE = Published("ada", "m", "hello", 0, 0)


def _opened(number: int) -> PartitionOpened:
    return PartitionOpened(event_id=f"o{number}", owner=f"w{number}", generation=number, occurred_at=1)


def _event(kind: type, epoch: int, **fields: Any) -> Any:
    ids = {"session_id": "ada", "message_id": "m", "turn_id": turn_id_for("ada", "m")}
    attempt = Attempt(epoch)
    return kind(event_id=f"{kind.__name__}-{epoch}", attempt=attempt, source_offset=0, occurred_at=1, **ids, **fields)


def _started(epoch: int) -> TurnStarted:
    started: TurnStarted = _event(TurnStarted, epoch, text="hello", agent="a", model="m")
    return started


def _completed(epoch: int) -> TurnCompleted:
    completed: TurnCompleted = _event(TurnCompleted, epoch, text="ho", deltas=1, decided_upto=0)
    return completed


def _report(*events: Any, called_in: tuple[int, ...]) -> tuple[Report, list[str]]:
    records = [Read(0, offset, b"ada", Codec().encode(event), [], 1) for offset, event in enumerate(events)]
    calls = [ScriptedCall("ada", MESSAGE.turn_id, (), 1.0, 1, epoch) for epoch in called_in]
    report = check_run(published=[MESSAGE], events=records, tokens=[], calls=calls)
    return report, [fault for fault in report.faults if "model call" in fault]


@pytest.mark.parametrize("events", [
    (_opened(0), _started(0), _opened(2), _started(2), _completed(2)),
    (_opened(0), _opened(1), _opened(2), _started(2), _completed(2)),
], ids=["in-the-log", "without-a-trace"])  # fmt: skip
def test_call_that_was_cut_off_may_be_repeated_by_the_next_owner(events: tuple[Any, ...]) -> None:
    """Also by one that could not know of the first: its worker died, or was frozen, before it said a word."""
    report, faults = _report(*events, called_in=(0, 2))
    assert faults == []
    assert report.repeated_calls == 1


def test_call_twice_in_one_epoch_is_a_fault() -> None:
    """An owner knows its own calls."""
    _, faults = _report(_opened(0), _started(0), _completed(0), called_in=(0, 0))
    assert len(faults) == 1


def test_call_in_an_epoch_behind_the_outcome_is_a_fault() -> None:
    """Its owner had folded the outcome before its lanes began."""
    _, faults = _report(_opened(0), _started(0), _completed(0), _opened(1), called_in=(0, 3))
    assert len(faults) == 1


def test_call_of_a_zombie_behind_the_outcome_of_another_is_none() -> None:
    """It cannot know."""
    _, faults = _report(_opened(0), _opened(1), _started(1), _completed(1), called_in=(1, 0))
    assert faults == []


def test_call_in_an_epoch_that_never_was_is_a_fault() -> None:
    """Lanes began before their barrier."""
    _, faults = _report(_opened(0), _started(0), _completed(0), called_in=(-1, 0))
    assert len(faults) == 1
