"""A message on its way to its turn: decoded, checked, and not decided yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.commands import Command


@dataclass(slots=True, frozen=True)
class Incoming:
    """What a lane holds.

    Attributes:
        key: The Kafka key.
        session_id: The key as text.
        message_id: The user's, or where the message was first seen.
        turn_id: Derived from both.
        offset: In its ``messages`` partition.
        command: What was asked for.
        agent: Name of the agent that answers.
        traceparent: W3C trace context, if the publisher gave one.
        acknowledge: Marks the message's record as done; harmless when called again.
        published_at_ms: The record's timestamp, Unix time; 0 where it is not known.
    """

    key: bytes
    session_id: str
    message_id: str
    turn_id: str
    offset: int
    command: Command
    agent: str
    traceparent: str | None
    acknowledge: Callable[[], None]
    published_at_ms: int = 0
