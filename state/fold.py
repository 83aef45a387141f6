"""The fold: ``evolve(session, event) -> session``, pure, total and synchronous.

It reads nothing but events, so that a worker, a reader of the log and an audit cannot differ. The order of the
Kafka log is the only arbiter: a record's own offset and the partition's epoch decide whether it counts.

Rules, in the order they are asked:

1. a record of another epoch than the partition's at that offset is rejected;
2. an outcome (or anything else) for a turn whose outcome is folded already is rejected;
3. an event id folded before is rejected;
4. a step without its start is rejected;
5. anything else is applied, and ``folded`` becomes the record's offset;
6. an unknown event type never gets here: the codec raises, and the partition stops.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from schemas.events import (
    MemoryCompacted,
    MessageMerged,
    MessageQueued,
    MessageRejected,
    Outcome,
    SessionErased,
    SessionEvent,
    StepCompleted,
    ToolCalled,
    ToolReturned,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    TurnSuspended,
    Usage,
)
from schemas.session import Decision, MemoryEntry, OpenTurn, QueuedMessage, Session, StepOutput, ToolResult
from state import transcript

#: Changes whenever the same events would yield another session; values of another version are refolded.
FOLD_VERSION: Final = 1

#: How many decisions a session remembers: the window in which a message published twice is recognised.
RECENT_DECISIONS: Final = 32

#: The events that end a message's work.
OUTCOMES: Final = (
    TurnCompleted,
    TurnFailed,
    TurnCancelled,
    MessageMerged,
    MessageRejected,
    SessionErased,
    TurnSuspended,
    MessageQueued,
)
_STEPS = (StepCompleted, ToolCalled, ToolReturned)


class Verdict(StrEnum):
    """What the fold made of a record."""

    APPLIED = "applied"
    STALE_EPOCH = "stale_epoch"  #: rule 1
    DECIDED = "decided"  #: rule 2
    REPEATED = "repeated"  #: rule 3, or a record at or below ``folded`` delivered again
    NO_START = "no_start"  #: rule 4


def is_decided(session: Session, message_id: str, source_offset: int) -> bool:
    """Say whether the message has its outcome: by its offset, exactly, or by its id, within the window."""
    if source_offset >= 0 and (source_offset <= session.done_upto or source_offset in session.done_above):
        return True
    return any(decision.message_id == message_id for decision in session.recent)


def judge(session: Session, event: SessionEvent, *, offset: int, epoch: int) -> Verdict:  # noqa: PLR0911 -- a rule each
    """Apply rules 1 to 4 to the record at ``offset``; ``epoch`` is the partition's at that offset."""
    if event.attempt.epoch != epoch:
        return Verdict.STALE_EPOCH
    if offset <= session.folded:
        return Verdict.REPEATED
    turn = session.open_turn
    is_open = turn is not None and turn.turn_id == event.turn_id
    if isinstance(event, MemoryCompacted):
        return Verdict.APPLIED if event.dropped_until > _first_seq(session) else Verdict.REPEATED
    is_queued = _is_queued(session, event)
    if isinstance(event, MessageQueued) and (is_open or is_queued):
        return Verdict.REPEATED
    if not is_open and not is_queued and is_decided(session, event.message_id, event.source_offset):
        return Verdict.DECIDED
    if turn is not None and is_open:
        if event.event_id in turn.event_ids:
            return Verdict.REPEATED
        if isinstance(event, _STEPS) and event.attempt != turn.attempt:
            return Verdict.NO_START
    elif isinstance(event, (*_STEPS, TurnCompleted, TurnSuspended)):
        return Verdict.NO_START
    return Verdict.APPLIED


def evolve(session: Session, event: SessionEvent, *, offset: int) -> Session:
    """Return the session after an accepted event; never raises for an event of the closed union."""
    changed = _apply(session, event)
    return replace(
        changed,
        folded=offset,
        epoch=event.attempt.epoch,
        created_at=session.created_at or event.occurred_at,
        updated_at=event.occurred_at,
    )


def fold(session: Session, event: SessionEvent, *, offset: int, epoch: int) -> tuple[Session, Verdict]:
    """Judge the record and apply it if it counts; a rejected one returns the very same session."""
    verdict = judge(session, event, offset=offset, epoch=epoch)
    if verdict is not Verdict.APPLIED:
        return session, verdict
    return evolve(session, event, offset=offset), verdict


def _apply(session: Session, event: SessionEvent) -> Session:
    if isinstance(event, TurnStarted):
        return _start(session, event)
    if isinstance(event, _STEPS):
        return _step(session, event)
    if isinstance(event, MemoryCompacted):
        return transcript.compact(session, event)
    return _decide(session, event)


def _start(session: Session, event: TurnStarted) -> Session:
    previous = session.open_turn
    again = previous if previous is not None and previous.turn_id == event.turn_id else None
    turn = OpenTurn(
        turn_id=event.turn_id,
        message_id=event.message_id,
        attempt=event.attempt,
        source_offset=event.source_offset,
        text=event.text,
        agent=event.agent,
        started_at=again.started_at if again else event.occurred_at,
        event_ids=(*(again.event_ids if again else ()), event.event_id),
        steps=again.steps if again else (),
        tools=again.tools if again else (),
    )
    queued = session.queued
    if queued:
        queued = tuple(message for message in queued if message.turn_id != event.turn_id)
    return replace(session, open_turn=turn, agent=event.agent, queued=queued)


def _step(session: Session, event: StepCompleted | ToolCalled | ToolReturned) -> Session:
    turn = session.open_turn
    if turn is None:  # judge() let none through; kept total
        return session
    steps, tools = turn.steps, turn.tools
    if isinstance(event, StepCompleted):
        output = StepOutput(step=event.step, text=event.text, tool_calls=event.tool_calls, usage=event.usage)
        steps = (*steps, output)
    elif isinstance(event, ToolCalled):
        # A later attempt calls an idempotent tool again: it is the same call.
        again = (event.step, event.call.call_id)
        tools = (*(tool for tool in tools if _place(tool) != again), ToolResult(step=event.step, call=event.call))
    else:
        returned = (event.step, event.call_id)
        tools = tuple(
            replace(tool, result=event.result, is_error=event.is_error) if _place(tool) == returned else tool
            for tool in tools
        )
    event_ids = (*turn.event_ids, event.event_id)
    return replace(session, open_turn=replace(turn, steps=steps, tools=tools, event_ids=event_ids))


def _place(tool: ToolResult) -> tuple[int, str]:
    return tool.step, tool.call.call_id


def _decide(session: Session, event: Outcome) -> Session:
    turn = session.open_turn
    is_open = turn is not None and turn.turn_id == event.turn_id
    done_upto, done_above = _offsets_after(session, event.source_offset, event.decided_upto)
    if isinstance(event, TurnSuspended):
        suspended = (
            replace(
                turn,
                wait_for=event.wait_for,
                expires_at=event.expires_at,
                event_ids=(*turn.event_ids, event.event_id),
            )
            if turn is not None and is_open
            else turn
        )
        return replace(session, open_turn=suspended, done_upto=done_upto, done_above=done_above)
    if isinstance(event, MessageQueued):
        waiting = QueuedMessage(
            message_id=event.message_id,
            turn_id=event.turn_id,
            source_offset=event.source_offset,
            text=event.text,
            agent=event.agent,
        )
        return replace(session, queued=(*session.queued, waiting), done_upto=done_upto, done_above=done_above)
    decision = Decision(
        message_id=event.message_id,
        outcome=type(event).__name__,
        attempt=event.attempt,
        deltas=getattr(event, "deltas", 0),
        cause=_cause(event),
    )
    changed = replace(
        session,
        open_turn=None if is_open else turn,
        queued=tuple(m for m in session.queued if m.turn_id != event.turn_id) if session.queued else (),
        done_upto=done_upto,
        done_above=done_above,
        recent=(*session.recent[-(RECENT_DECISIONS - 1) :], decision),
    )
    if isinstance(event, TurnCompleted) and turn is not None:
        return _remember(changed, turn, event)
    if isinstance(event, SessionErased):
        return replace(changed, memory=(), summary="", open_turn=None, queued=())
    return changed


def _remember(session: Session, turn: OpenTurn, event: TurnCompleted) -> Session:
    seq = session.next_seq
    said = MemoryEntry(seq=seq, role="user", text=turn.text, turn_id=turn.turn_id, occurred_at=turn.started_at)
    answer = MemoryEntry(
        seq=seq + 1, role="assistant", text=event.text, turn_id=turn.turn_id, occurred_at=event.occurred_at
    )
    usage = Usage(
        prompt_tokens=session.usage.prompt_tokens + event.usage.prompt_tokens,
        completion_tokens=session.usage.completion_tokens + event.usage.completion_tokens,
    )
    return replace(
        session, memory=(*session.memory, said, answer), next_seq=seq + 2, turns=session.turns + 1, usage=usage
    )


def _offsets_after(session: Session, source_offset: int, decided_upto: int) -> tuple[int, tuple[int, ...]]:
    upto = max(session.done_upto, decided_upto)
    above = session.done_above
    if source_offset > upto and source_offset not in above:
        above = tuple(sorted((*above, source_offset)))
    if above and above[0] <= upto:
        above = tuple(offset for offset in above if offset > upto)
    return upto, above


def _cause(event: SessionEvent) -> str | None:
    if isinstance(event, TurnFailed):
        return event.cause
    if isinstance(event, TurnCancelled | MessageRejected):
        return event.reason
    return None


def _is_queued(session: Session, event: SessionEvent) -> bool:
    return any(message.turn_id == event.turn_id for message in session.queued)


def _first_seq(session: Session) -> int:
    return session.memory[0].seq if session.memory else session.next_seq
