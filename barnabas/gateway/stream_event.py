"""What a stream's reader gets of a token record, over SSE and over a WebSocket alike."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.attempt import Attempt
from schemas.events import Usage
from schemas.tokens import Token, TokenKind, ToolUse
from topics.partitioner import split_key


class StreamEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One record of a turn's answer. A field without a value is left out.

    Events that name the same ``turn_id`` make one answer: append the ``text`` of each ``delta``; on ``superseded``
    forget the turn's text, it begins again; at the end (``completed``, ``failed``, ``cancelled``) ``text`` is the
    whole answer, and stands for what was shown. ``(turn_id, attempt, index)`` names an event.

    Attributes:
        kind: ``started``, ``delta``, ``tool``, ``superseded``, then one of ``completed``, ``failed``, ``cancelled``.
        session_id: The session, without its tenant.
        turn_id: The turn.
        message_id: The message it answers.
        attempt: Which run of the turn, ``{"epoch": …, "try": …}``.
        index: Counts from 0 within an attempt.
        occurred_at: Unix time in milliseconds.
        text: The piece to append; at the end the whole answer, unless it has left the session's memory.
        deltas: At the end: how many ``delta`` the attempt has.
        cause: In ``failed``: a stable code.
        detail: In ``failed`` and ``cancelled``: a sentence for people.
        usage: In ``completed``: the model's token counts.
        finish_reason: In ``completed``: why the model stopped, in its provider's word.
        tool: In ``tool``: the call, or its result.
        retry_after_ms: In ``failed`` with the cause ``overloaded``: when to send it again, under another message id.
        cursor: Behind this event: what follows it comes next. Over SSE it is the event's id.
    """

    kind: TokenKind
    session_id: str
    turn_id: str
    message_id: str
    attempt: Attempt
    index: int
    occurred_at: int
    text: str | None = None
    deltas: int | None = None
    cause: str | None = None
    detail: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    tool: ToolUse | None = None
    retry_after_ms: int | None = None
    cursor: str | UnsetType = UNSET

    @classmethod
    def of(cls, token: Token, cursor: str | UnsetType = UNSET) -> StreamEvent:
        """Make one of a record."""
        return cls(
            kind=token.kind,
            session_id=split_key(token.session_id.encode())[1] if "/" in token.session_id else token.session_id,
            turn_id=token.turn_id,
            message_id=token.message_id,
            attempt=token.attempt,
            index=token.index,
            occurred_at=token.occurred_at,
            text=token.text,
            deltas=token.deltas,
            cause=token.cause,
            detail=token.detail,
            usage=token.usage,
            finish_reason=token.finish_reason,
            tool=token.tool,
            retry_after_ms=token.retry_after_ms,
            cursor=cursor,
        )


_ENCODER: Final = msgspec.json.Encoder()


def sse_frame(event: StreamEvent, cursor: str) -> bytes:
    """Return an event as Server-Sent Events has it; JSON has no line end in it, so its data is one line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.kind.value.encode(), _ENCODER.encode(event))


def json_text(event: Struct) -> str:
    """Return it as a WebSocket's text."""
    return _ENCODER.encode(event).decode()
