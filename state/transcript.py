"""How a session's memory shrinks: entries leave from the front, a summary stands for them."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.events import MemoryCompacted
from schemas.session import Session


def compact(session: Session, event: MemoryCompacted) -> Session:
    """Drop the entries below ``dropped_until`` and keep the event's summary."""
    kept = tuple(entry for entry in session.memory if entry.seq >= event.dropped_until)
    return replace(session, memory=kept, summary=event.summary)
