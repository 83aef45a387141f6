"""Each message has an outcome that was asked for, a failure that the model can have caused, an answer of its own."""

from __future__ import annotations

import re
from typing import Any, Final

from schemas.events import MessageRejected, SessionErased, TurnCancelled, TurnCompleted, TurnFailed
from tests.chaos.case import Case
from tests.chaos.load import ERASES, Action
from tests.chaos.model import WHOLE

#: Why a turn may fail: what the model endpoint does in its moods, and a worker that had no time. Never the worker's own
#: fault: not ``internal``, not ``store``.
_CAUSES: Final = frozenset({"provider_failed", "provider_unavailable", "provider_timeout", "turn_timeout"})

#: What is said in one call, and where in it.
_WORD: Final = re.compile(r" c(\d+)\.(\d+)")


def check_outcomes(case: Case) -> None:
    """By what the message is: an erase erases, only a cancelled one is cancelled, the rest is answered."""
    marks = {message.turn_id: message.mark for message in case.messages if not message.is_misplaced}
    texts = {message.turn_id: message.text for message in case.messages if not message.is_misplaced}
    calls = {call["call"]: call for call in case.evidence.calls}
    for turn_id, accepted in case.log.outcomes.items():
        event, mark = accepted.event, marks.get(turn_id)
        if mark is not None and not isinstance(event, _wanted(mark)):
            case.verdict.fault("outcome", f"of a message that is {mark}: {event}")
        if isinstance(event, TurnFailed) and event.cause not in _CAUSES:
            case.verdict.fault("failed", f"for a reason that no model gave: {event}")
        if isinstance(event, TurnCompleted) and calls:
            for fault in _faults_of(event.text, texts.get(turn_id, ""), calls):
                case.verdict.fault("answer", f"turn {turn_id}: {fault}: {event.text!r}")


def _wanted(mark: str) -> tuple[type, ...]:
    if mark in ERASES:
        return (SessionErased,)
    answered = TurnCompleted, TurnFailed, MessageRejected
    return (*answered, TurnCancelled) if mark == Action.CANCELLED else answered


def _faults_of(answer: str, asked: str, calls: dict[int, dict[str, Any]]) -> list[str]:
    """Say what of an answer is not the whole of what the model said to this message."""
    said: dict[int, list[int]] = {}
    for call, index in _WORD.findall(answer):
        said.setdefault(int(call), []).append(int(index))
    faults = [] if not _WORD.sub("", answer) else ["other words than the model's"]
    for number, indexes in said.items():
        call = calls.get(number)
        if call is None or call["asked"] != asked:
            faults.append(f"call {number} was about {call and call['asked']!r}, the message is {asked!r}")
        elif call["mood"] != WHOLE or indexes != [*range(call["tokens"])]:
            faults.append(f"call {number} is not whole: {call}")
    return faults
