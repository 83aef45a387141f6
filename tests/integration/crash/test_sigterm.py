"""SIGTERM with running turns."""

import time

import pytest

from tests.support.deployment import Deployment

pytestmark = pytest.mark.crash


def test_sigterm_turns_run_drained_within_the_deadline_the_rest_continued(deployment: Deployment) -> None:
    """Turns of 2 s are finished; those of 12 s are left to the next owner, who need not wait for the session time-out.

    Fails with ``BARNABAS_TEST_OFF=drain`` (turns of 2 s are cut off, too).
    """
    patient = {"session_timeout_s": 40.0}
    first = deployment.start("w1", limits={"drain_timeout_s": 3.0}, consumer=patient)
    first.wait_ready()
    for number in range(10):
        deployment.publish(f"a{number}", f"long {number}")
        deployment.publish(f"b{number}", f"two-seconds {number}")
    deployment.flush()
    deployment.wait(lambda: len(deployment.log().starts) == 20, "20 turns run")
    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 10
    finished = set(deployment.log().outcomes)
    deployment.publish("c", "fast one")
    second = deployment.start("w2", consumer=patient)
    deployment.wait_answered(35)  # far below the session time-out: the first has left
    deployment.wait_committed()
    assert second.stop() == 0
    report = deployment.check()
    two_seconds = {m.turn_id for m in deployment.published if m.text.startswith("two")}
    assert finished == two_seconds
    assert report.cut_off == 10
