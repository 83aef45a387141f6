"""A message redelivered while the new owner's projector lags behind the log."""

import pytest

from tests.support.deployment import Deployment
from tests.support.faults import Faults

pytestmark = pytest.mark.crash


def test_redelivery_projector_lags_no_model_is_called_again(deployment: Deployment) -> None:
    """The outcomes are in the log alone: no table value, nothing acknowledged, and the new projector is 2 s late.

    The first worker's changelog records never leave it, so that it commits nothing; it is killed when all is
    answered. Its successor gets all messages again at once and must not decide one before the log is folded.
    Fails with ``BARNABAS_TEST_OFF=barrier`` (messages are decided against a table that lacks their outcomes).
    """
    first = deployment.start("w1", faults=Faults(mute_changelog=True))
    first.wait_ready()
    for number in range(100):
        deployment.publish(f"s{number % 20}", f"fast {number}")
    deployment.flush()
    deployment.wait_answered()
    deployment.kill(first)
    second = deployment.start("w2", faults=Faults(projector_lag_s=2.0))
    deployment.wait(lambda: sum(deployment.log().openings.values()) == 2 * deployment.partitions, "taken over")
    deployment.publish("s1", "fast and last")
    deployment.flush()
    deployment.wait_answered()
    deployment.wait_committed()
    assert second.stop() == 0
    report = deployment.check()
    assert report.repeated_calls == 0
