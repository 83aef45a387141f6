"""What subscribers read from ``tokens``: a turn's answer as it is being written."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from schemas.attempt import Attempt
from schemas.events import Usage


class TokenKind(StrEnum):
    """What a token record says."""

    STARTED = "started"  #: The turn began; the first record of its first attempt.
    DELTA = "delta"  #: The next piece of the answer.
    TOOL = "tool"  #: A tool was called or returned.
    COMPLETED = "completed"  #: The outcome, with the whole text.
    FAILED = "failed"  #: The outcome, with its cause.
    CANCELLED = "cancelled"  #: The outcome, with what was streamed by then.
    SUPERSEDED = "superseded"  #: The first record of a later attempt: forget the tokens of the earlier ones.


TERMINAL_KINDS = frozenset({TokenKind.COMPLETED, TokenKind.FAILED, TokenKind.CANCELLED})


class ToolUse(Struct, frozen=True, kw_only=True, gc=False):
    """What a ``tool`` record says: a call is about to be made, or has returned.

    Attributes:
        call_id: Joins the two records of a call.
        name: The tool's.
        arguments: The call's arguments, a JSON object as text; None where the call returned.
        result: What it returned, its first characters; None where it is about to be made.
        is_error: Whether ``result`` says what went wrong.
    """

    call_id: str
    name: str
    arguments: str | None = None
    result: str | None = None
    is_error: bool = False


class Token(Struct, frozen=True, kw_only=True, tag="Token", gc=False):
    """One record of a token stream; ``(turn_id, attempt, index)`` names it.

    Attributes:
        session_id: The Kafka key as text.
        turn_id: The turn it belongs to.
        message_id: The message the turn answers.
        attempt: Which run of the turn; a reader keeps the highest and drops the others.
        epoch: The writer's epoch. A terminal token that was sent again after a crash carries the attempt
            that was accepted and the new owner's epoch.
        index: Counts from 0 within an attempt.
        kind: See :class:`TokenKind`.
        text: The delta's text; the full answer in a terminal token (None where it left the memory).
        deltas: In a terminal token, how many deltas the attempt has: lets a reader find a gap.
        cause: In ``failed``, the error code.
        detail: In ``failed`` and ``cancelled``, a sentence for people.
        usage: In ``completed``, the model's token counts.
        finish_reason: In ``completed``, why the model stopped, in its provider's word: ``stop``, ``length``. None where
            the outcome is repeated to somebody who sent its message again; so is ``usage``.
        tool: In ``tool``, the call or its result.
        retry_after_ms: In ``failed`` for ``overloaded``: when to publish it again, under another message id.
        occurred_at: Unix time in milliseconds.
    """

    session_id: str
    turn_id: str
    message_id: str
    attempt: Attempt
    epoch: int
    index: int
    kind: TokenKind
    occurred_at: int
    text: str | None = None
    deltas: int | None = None
    cause: str | None = None
    detail: str | None = None
    usage: Usage | None = None
    tool: ToolUse | None = None
    retry_after_ms: int | None = None
    finish_reason: str | None = None
