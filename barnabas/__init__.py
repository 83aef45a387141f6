"""Barnabas: an event-sourced streaming agent service on Kafka. What a program needs is imported from here.

>>> from barnabas import Client, SyncClient

Each name is loaded when it is first asked for: ``import barnabas`` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barnabas import metrics
    from barnabas.client import Answer, Client, Message, Part, Sent, SyncClient, TokenStream
    from barnabas.cursor import Cursor
    from barnabas.history.logged_event import LoggedEvent
    from barnabas.settings import Settings
    from schemas.errors import (
        AnswerTimeoutError,
        BarnabasError,
        CursorError,
        CursorExpiredError,
        DeliveryUnknownError,
        HistoryLostError,
        InvalidMessageError,
        MessageRejectedError,
        SlowSubscriberError,
        TurnCancelledError,
        TurnError,
        TurnFailedError,
    )
    from streams.tools import Tool, ToolContext, tool

_HOMES = {
    "Answer": "barnabas.client",
    "AnswerTimeoutError": "schemas.errors",
    "BarnabasError": "schemas.errors",
    "Client": "barnabas.client",
    "Cursor": "barnabas.cursor",
    "CursorError": "schemas.errors",
    "CursorExpiredError": "schemas.errors",
    "DeliveryUnknownError": "schemas.errors",
    "HistoryLostError": "schemas.errors",
    "InvalidMessageError": "schemas.errors",
    "LoggedEvent": "barnabas.history.logged_event",
    "Message": "barnabas.client",
    "MessageRejectedError": "schemas.errors",
    "Part": "barnabas.client",
    "Sent": "barnabas.client",
    "Settings": "barnabas.settings",
    "SlowSubscriberError": "schemas.errors",
    "SyncClient": "barnabas.client",
    "TokenStream": "barnabas.client",
    "Tool": "streams.tools",
    "ToolContext": "streams.tools",
    "TurnCancelledError": "schemas.errors",
    "TurnError": "schemas.errors",
    "TurnFailedError": "schemas.errors",
    "tool": "streams.tools",
}

#: Modules whose names are used with theirs in front: ``barnabas.metrics.counter``.
_MODULES = frozenset({"metrics"})

__all__ = [
    "Answer",
    "AnswerTimeoutError",
    "BarnabasError",
    "Client",
    "Cursor",
    "CursorError",
    "CursorExpiredError",
    "DeliveryUnknownError",
    "HistoryLostError",
    "InvalidMessageError",
    "LoggedEvent",
    "Message",
    "MessageRejectedError",
    "Part",
    "Sent",
    "Settings",
    "SlowSubscriberError",
    "SyncClient",
    "TokenStream",
    "Tool",
    "ToolContext",
    "TurnCancelledError",
    "TurnError",
    "TurnFailedError",
    "metrics",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"barnabas.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'barnabas' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
