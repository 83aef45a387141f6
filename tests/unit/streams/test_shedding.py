"""Which message is rejected when its turn comes."""

import time
from typing import Any

import pytest

from schemas.attempt import Attempt
from schemas.commands import EraseSession, UserMessage
from schemas.session import OpenTurn, Session
from streams.incoming import Incoming
from streams.options import Limits
from streams.shedding import OVERLOADED, is_late, retry_after_ms

SHED = Limits(shed_lag_s=500.0)


def _incoming(age_s: float, command: Any = None) -> Incoming:
    return Incoming(
        key=b"s",
        session_id="s",
        message_id="m",
        turn_id="t",
        offset=3,
        command=command or UserMessage(text="hello"),
        agent="a",
        traceparent=None,
        acknowledge=lambda: None,
        published_at_ms=int((time.time() - age_s) * 1000),
    )


def _begun(turn_id: str) -> Session:
    turn = OpenTurn(
        turn_id=turn_id,
        message_id="m",
        attempt=Attempt(1, 0),
        source_offset=3,
        text="hello",
        agent="a",
        started_at=1,
        event_ids=("e",),
    )
    return Session(session_id="s", open_turn=turn)


@pytest.mark.parametrize(("age_s", "late"), [(6000, True), (501, True), (400, False), (0, False), (-3600, False)])
def test_is_late_by_age(age_s: float, late: bool) -> None:  # noqa: FBT001 -- a table
    """Older than the bound; a publisher's clock that is ahead makes nothing late."""
    assert is_late(_incoming(age_s), Session(session_id="s"), SHED) is late


def test_is_late_off_by_default() -> None:
    """Without the setting no message is rejected."""
    assert not is_late(_incoming(1e6), Session(session_id="s"), Limits())
    assert retry_after_ms(OVERLOADED, Limits()) is None


def test_is_late_turn_that_began_before_a_crash_is_not() -> None:
    """It has tokens out, and continues; another turn left open says nothing of this one."""
    assert not is_late(_incoming(6000.0), _begun("t"), SHED)
    assert is_late(_incoming(6000.0), _begun("another"), SHED)


def test_is_late_order_to_erase_is_never() -> None:
    """It costs nothing, and is owed."""
    assert not is_late(_incoming(6000.0, EraseSession()), Session(session_id="s"), SHED)


def test_retry_after_for_overload_only() -> None:
    """The bound itself: by then the backlog may be younger."""
    assert retry_after_ms(OVERLOADED, SHED) == 500_000
    assert retry_after_ms("busy", SHED) is None
