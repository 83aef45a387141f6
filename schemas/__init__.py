"""What is on the wire: commands, controls, events, tokens, dead letters, the session value, and their one codec.

Every name below can be had from here; its module is loaded when the name is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.attempt import Attempt
    from schemas.commands import Command, EraseSession, UserMessage
    from schemas.controls import ApproveTurn, CancelTurn, Control, DenyTurn
    from schemas.dead_letters import DeadLetter, DeadLetterResolved, RecordHeader, Resolution
    from schemas.events import (
        LogEvent,
        MemoryCompacted,
        MessageMerged,
        MessageQueued,
        MessageRejected,
        Outcome,
        PartitionOpened,
        SessionErased,
        SessionEvent,
        StepCompleted,
        ToolCall,
        ToolCalled,
        ToolReturned,
        TurnCancelled,
        TurnCompleted,
        TurnFailed,
        TurnStarted,
        TurnSuspended,
        Usage,
    )
    from schemas.headers import headers_for, traceparent_of
    from schemas.ids import event_id_for, message_id_at, turn_id_for
    from schemas.record_types import Record
    from schemas.serdes import Codec
    from schemas.session import PartitionState, Session
    from schemas.tokens import Token, TokenKind

_MODULES = {
    "attempt": ("Attempt",),
    "commands": ("Command", "EraseSession", "UserMessage"),
    "controls": ("ApproveTurn", "CancelTurn", "Control", "DenyTurn"),
    "dead_letters": ("DeadLetter", "DeadLetterResolved", "RecordHeader", "Resolution"),
    "events": (
        "LogEvent",
        "MemoryCompacted",
        "MessageMerged",
        "MessageQueued",
        "MessageRejected",
        "Outcome",
        "PartitionOpened",
        "SessionErased",
        "SessionEvent",
        "StepCompleted",
        "ToolCall",
        "ToolCalled",
        "ToolReturned",
        "TurnCancelled",
        "TurnCompleted",
        "TurnFailed",
        "TurnStarted",
        "TurnSuspended",
        "Usage",
    ),
    "headers": ("headers_for", "traceparent_of"),
    "ids": ("event_id_for", "message_id_at", "turn_id_for"),
    "record_types": ("Record",),
    "serdes": ("Codec",),
    "session": ("PartitionState", "Session"),
    "tokens": ("Token", "TokenKind"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ApproveTurn",
    "Attempt",
    "CancelTurn",
    "Codec",
    "Command",
    "Control",
    "DeadLetter",
    "DeadLetterResolved",
    "DenyTurn",
    "EraseSession",
    "LogEvent",
    "MemoryCompacted",
    "MessageMerged",
    "MessageQueued",
    "MessageRejected",
    "Outcome",
    "PartitionOpened",
    "PartitionState",
    "Record",
    "RecordHeader",
    "Resolution",
    "Session",
    "SessionErased",
    "SessionEvent",
    "StepCompleted",
    "Token",
    "TokenKind",
    "ToolCall",
    "ToolCalled",
    "ToolReturned",
    "TurnCancelled",
    "TurnCompleted",
    "TurnFailed",
    "TurnStarted",
    "TurnSuspended",
    "Usage",
    "UserMessage",
    "event_id_for",
    "headers_for",
    "message_id_at",
    "traceparent_of",
    "turn_id_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'schemas' has no attribute {name!r}")
    return getattr(import_module(f"schemas.{_HOMES[name]}"), name)
