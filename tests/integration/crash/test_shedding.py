"""A worker dies between a rejection and its token."""

import pytest

from schemas.events import MessageRejected
from schemas.tokens import TokenKind
from tests.support.deployment import Deployment
from tests.support.faults import Faults

pytestmark = pytest.mark.crash


def test_kill_between_rejection_and_token_next_owner_tells_the_client(deployment: Deployment) -> None:
    """Ten old messages are shed; the worker is killed when the fifth rejection is folded and its token is due.

    The next owner, under no load at all, does not decide them again: each client gets the same error. Fails with
    ``BARNABAS_TEST_OFF=repeat_rejected`` (the log says no, and the client waits for ever).
    """
    for number in range(10):
        deployment.publish(f"s{number}", f"fast {number}")
    deployment.flush()
    limits = {"shed_lag_s": 0.2}
    first = deployment.start("w1", limits=limits, faults=Faults(kill_before_terminal=5))
    deployment.died(first)
    again = deployment.start("w1", limits=limits)
    deployment.wait_answered()
    deployment.wait_committed()
    assert again.stop() == 0
    report = deployment.check()
    assert report.rejected == {}
    outcomes = deployment.log().outcomes
    assert len(outcomes) == 10
    assert all(isinstance(accepted.event, MessageRejected) for accepted in outcomes.values())
    told = {token.turn_id: token for token in deployment.tokens()}
    assert told.keys() == outcomes.keys()
    assert {(t.kind, t.cause, t.retry_after_ms) for t in told.values()} == {(TokenKind.FAILED, "overloaded", 200)}
    assert deployment.calls() == []
