"""The broker killed and restarted on the same port, under load."""

import time
from pathlib import Path

import pytest

from infra.broker import Broker
from tests.support.deployment import Deployment, Load
from topics.names import TopicNames

pytestmark = pytest.mark.crash


def test_broker_killed_under_load_restarts_nothing_lost(
    private_broker: Broker, topic_names: TopicNames, tmp_path: Path
) -> None:
    """SIGKILL of Kafka with two workers at 100 messages/s; it comes back after 3 to 4 s, nobody restarts a worker."""
    state = private_broker.status()
    assert state is not None
    deployment = Deployment(state.bootstrap_servers, topic_names, tmp_path)
    try:
        first, second = deployment.start("w1"), deployment.start("w2")
        first.wait_ready()
        second.wait_ready()
        deployment.wait(lambda: len(deployment.log().openings) == deployment.partitions, "all partitions open")
        with Load(deployment, rate=100, sessions=200) as load:
            deployment.wait(lambda: len(deployment.log().outcomes) > 150, "turns on both workers")
            gone = time.time()
            assert private_broker.kill()
            again = private_broker.start()
            deployment.outages.append((gone, time.time()))
            assert again.port == state.port
            more = load.sent + 200
            deployment.wait(lambda: load.sent > more, "two seconds of load on the new broker")
        deployment.wait_answered(60)
        deployment.wait_committed(30)
        assert first.stop() == 0
        assert second.stop() == 0
        assert deployment.unconfirmed == 0
        deployment.check()
    finally:
        deployment.close()
