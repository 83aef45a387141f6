"""What users publish to ``control``: orders about a turn, never held back by back-pressure."""

from __future__ import annotations

from msgspec import Struct


class _Control(Struct, frozen=True, kw_only=True):
    """Names its target by ``turn_id`` or by ``message_id``; one of them is needed.

    Attributes:
        turn_id: The turn it is for.
        message_id: ... or the message that the turn answers.
        reason: Kept in the log.
    """

    turn_id: str | None = None
    message_id: str | None = None
    reason: str | None = None


class CancelTurn(_Control, frozen=True, kw_only=True, tag="cancel"):
    """Stop a running turn, or one that has not begun; a no-op for a finished one."""


class ApproveTurn(_Control, frozen=True, kw_only=True, tag="approve"):
    """Let a suspended turn go on."""


class DenyTurn(_Control, frozen=True, kw_only=True, tag="deny"):
    """End a suspended turn."""


Control = CancelTurn | ApproveTurn | DenyTurn
