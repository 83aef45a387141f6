"""SIGTERM with running turns, and while there is no broker."""

import time
from pathlib import Path

import pytest

from infra.broker import Broker
from streams.providers.scripted import Script
from tests.support.deployment import Deployment
from topics.names import TopicNames

pytestmark = pytest.mark.crash


def test_sigterm_turns_run_drained_within_the_deadline_the_rest_continued(deployment: Deployment) -> None:
    """Turns of 2 s are finished; those that hang are left to the next owner, who need not wait for the time-out.

    Fails with ``BARNABAS_TEST_OFF=drain`` (turns of 2 s are cut off, too).
    """
    patient = {"session_timeout_s": 300.0}
    first = deployment.start("w1", limits={"drain_timeout_s": 45.0}, consumer=patient)
    first.wait_ready()
    for number in range(10):
        deployment.publish(f"b{number}", f"two-seconds {number}")
    deployment.flush()
    deployment.wait(lambda: len(deployment.log().starts) == 10, "10 turns run")
    assert first.stop() == 0
    deployment.wait(lambda: not deployment.unanswered(), "all of them are finished")
    second = deployment.start("w2", limits={"drain_timeout_s": 0.5}, consumer=patient)
    for number in range(10):
        deployment.publish(f"a{number}", f"hang {number}")
    deployment.flush()
    deployment.wait(lambda: len(deployment.log().starts) == 20, "10 others run: the first has left")
    assert second.stop() == 0
    third = deployment.start("w3", script=Script(), consumer=patient)
    deployment.wait_answered()  # far below the session time-out
    deployment.wait_committed()
    assert third.stop() == 0
    report = deployment.check()
    assert report.cut_off == 10


def test_sigterm_broker_away_ends_in_order_nothing_lost(
    private_broker: Broker, topic_names: TopicNames, tmp_path: Path
) -> None:
    """What is done cannot be committed, and aiokafka asks for a coordinator for ever: the worker ends all the same.

    Fails without ``LeasedConsumerThread.leave`` ending the commits (after 30 s the process ends as it is, with 1).
    """
    state = private_broker.status()
    assert state is not None
    deployment = Deployment(state.bootstrap_servers, topic_names, tmp_path)
    try:
        first = deployment.start("w1", consumer={"commit_interval_s": 2.0})
        first.wait_ready()
        deployment.publish("s", "fast one")
        deployment.flush()
        deployment.wait_committed()  # the next commit is two seconds away
        deployment.publish("s", "fast two")
        deployment.flush()
        deployment.wait_answered()
        assert private_broker.kill()
        time.sleep(2.5)  # a commit waits for the broker
        assert first.stop() == 0
        private_broker.start()
        second = deployment.start("w1")
        second.wait_ready()
        deployment.publish("s", "fast three")
        deployment.flush()
        deployment.wait_answered()
        deployment.wait_committed()
        assert second.stop() == 0
        deployment.check()
    finally:
        deployment.close()
