"""A session's conversation as its log tells it: every turn that counts, whatever the memory has let go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import clock
from schemas.errors import SettingsError
from schemas.events import SessionErased, TurnCancelled, TurnCompleted, TurnFailed, TurnStarted

TranscriptFormat = Literal["md", "json"]

_FORMATS: Final = ("md", "json")


class TranscriptTurn(Struct, kw_only=True):
    """One turn.

    Attributes:
        turn_id: The turn.
        message_id: The message.
        agent: Who answered.
        started_at: Unix ms.
        user: What the user said.
        answer: What was answered; of a cancelled turn as far as it came.
        outcome: ``completed``, ``failed``, ``cancelled``; None while it runs.
        cause: Of a failure or a cancel.
        ended_at: Unix ms.
    """

    turn_id: str
    message_id: str
    agent: str
    started_at: int
    user: str
    answer: str = ""
    outcome: str | None = None
    cause: str | None = None
    ended_at: int | None = None


def transcript_turns(events: Iterable[LoggedEvent]) -> list[TranscriptTurn]:
    """Return the turns of a session's events; an erased session's begin behind its erasure."""
    turns: dict[str, TranscriptTurn] = {}
    for logged in events:
        event = logged.event
        if not logged.is_accepted or event is None:
            continue
        if isinstance(event, TurnStarted):
            turn = TranscriptTurn(
                turn_id=event.turn_id,
                message_id=event.message_id,
                agent=event.agent,
                started_at=event.occurred_at,
                user=event.text,
            )
            turns.setdefault(event.turn_id, turn).agent = event.agent
        elif isinstance(event, SessionErased):
            turns.clear()
        elif isinstance(event, (TurnCompleted, TurnFailed, TurnCancelled)):
            found = turns.get(event.turn_id)
            if found is not None:
                _end(found, event)
    return list(turns.values())


def render(session_id: str, turns: list[TranscriptTurn], format: TranscriptFormat) -> str:  # noqa: A002 -- the option's name
    """Return a transcript as Markdown or as JSON.

    Raises:
        SettingsError: There is no such format.
    """
    if format == "json":
        return msgspec.json.format(msgspec.json.encode({"session_id": session_id, "turns": turns})).decode()
    if format != "md":
        raise SettingsError(f"format: {format!r} is none; say {' or '.join(_FORMATS)}")
    parts = [f"# {session_id}"]
    for turn in turns:
        parts += [f"**user**, {clock(turn.started_at)}", turn.user]
        if turn.outcome is not None:
            ended = f", {clock(turn.ended_at)}" if turn.ended_at is not None else ""
            said = "" if turn.outcome == "completed" else f" ({turn.outcome}: {turn.cause})"
            parts.append(f"**{turn.agent}**{ended}{said}")
            if turn.answer:
                parts.append(turn.answer)
    return "\n\n".join(parts) + "\n"


def _end(turn: TranscriptTurn, event: TurnCompleted | TurnFailed | TurnCancelled) -> None:
    turn.ended_at = event.occurred_at
    if isinstance(event, TurnCompleted):
        turn.outcome, turn.answer = "completed", event.text
    elif isinstance(event, TurnFailed):
        turn.outcome, turn.cause = "failed", event.cause
    else:
        turn.outcome, turn.cause, turn.answer = "cancelled", event.reason, event.text
