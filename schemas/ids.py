"""Names derived from where a message lies and what was decided: the same input has the same id on every worker."""

from __future__ import annotations

from hashlib import blake2b

from schemas.attempt import Attempt

_TURN_BYTES = 10
_EVENT_BYTES = 12


def message_id_at(topic: str, partition: int, offset: int) -> str:
    """The id of a message without an idempotency key: the place where it was first seen."""
    return f"{topic}-{partition}-{offset}"


def turn_id_for(session_id: str, message_id: str) -> str:
    """``t`` and 20 hex digits (80 bits): the one turn of a message in its session."""
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    text = f"{len(session_id)}:{session_id}{message_id}"
    return "t" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_TURN_BYTES).hexdigest()


def event_id_for(turn_id: str, attempt: Attempt, step: str | int) -> str:
    """``e`` and 24 hex digits (96 bits): one decision of a turn's attempt; ``step`` names it within the attempt."""
    # Neither a turn id nor a number holds a colon; the step stands last. "1" and 1 are the same step.
    text = f"{turn_id}:{attempt.epoch}:{attempt.number}:{step}"
    return "e" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_EVENT_BYTES).hexdigest()
