"""Load shedding: a message that waited too long is rejected, so that younger ones are answered in time."""

from __future__ import annotations

from typing import Final

from schemas.commands import UserMessage
from schemas.session import Session
from streams.incoming import Incoming
from streams.options import Limits
from streams.token_stream import now_ms

#: The reason in ``MessageRejected`` and the cause in its ``failed`` token.
OVERLOADED: Final = "overloaded"


def is_late(incoming: Incoming, session: Session, limits: Limits) -> bool:
    """Whether the message is to be rejected now that its turn has come; one that began before a crash never is."""
    if limits.shed_lag_s is None or not incoming.published_at_ms or not isinstance(incoming.command, UserMessage):
        return False
    if session.open_turn is not None and session.open_turn.turn_id == incoming.turn_id:
        return False
    return now_ms() - incoming.published_at_ms > limits.shed_lag_s * 1000


def retry_after_ms(reason: str | None, limits: Limits) -> int | None:
    """Return when the client may try again, in milliseconds: once the backlog can be younger than the bound."""
    if reason != OVERLOADED or limits.shed_lag_s is None:
        return None
    return int(limits.shed_lag_s * 1000)
