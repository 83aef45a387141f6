"""An event of the log with what the fold made of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from schemas.events import LogEvent
from schemas.serdes import Codec
from state.fold import Verdict


class LoggedEvent(Struct, frozen=True, kw_only=True):
    """One record of the log.

    Attributes:
        partition: Where it lies.
        offset: ... and at which offset.
        timestamp_ms: When it was written, Unix ms.
        event: What it says; None where it is none of ours.
        verdict: What the fold made of it; None for a record that is none of ours.
        error: Why it could not be decoded.
    """

    partition: int
    offset: int
    timestamp_ms: int
    event: LogEvent | None
    verdict: Verdict | None
    error: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it counts: the session is what the accepted events make of it."""
        return self.verdict is Verdict.APPLIED

    @property
    def says(self) -> str:
        """The verdict in one word: ``accepted``, the rule that rejected it, or ``undecodable``."""
        if self.verdict is None:
            return "undecodable"
        return "accepted" if self.is_accepted else self.verdict.value

    def fields(self) -> dict[str, Any]:
        """Return it as plain values: place, verdict, then the event's own fields."""
        place = {"partition": self.partition, "offset": self.offset, "timestamp_ms": self.timestamp_ms}
        if self.event is None:
            return {**place, "verdict": self.says, "error": self.error}
        return {**place, "verdict": self.says, **msgspec.json.decode(Codec.to_json(self.event))}
