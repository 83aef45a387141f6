"""The broker killed and restarted on the same port, under load."""

from pathlib import Path

import pytest

from infra.broker import Broker
from tests.support.deployment import Deployment, Load
from topics.names import TopicNames

pytestmark = pytest.mark.crash


def test_broker_killed_under_load_restarts_nothing_lost(
    private_broker: Broker, topic_names: TopicNames, tmp_path: Path
) -> None:
    """SIGKILL of Kafka with two workers at 100 messages/s; it is away until their leases are over, and comes back.

    Nobody restarts a worker. Fails with ``BARNABAS_TEST_OFF=ack_at_once`` (what was in flight is never answered).
    """
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
            assert private_broker.kill()
            for worker in (first, second):
                deployment.wait(lambda log=worker.log: "the lease is over" in log.read_text(), "its lease is over")
            again = private_broker.start()
            assert again.port == state.port
            more = load.sent + 200
            deployment.wait(lambda: load.sent > more, "two seconds of load on the new broker")
        deployment.wait_answered()
        deployment.wait_committed()
        assert first.stop() == 0
        assert second.stop() == 0
        assert deployment.unconfirmed == 0
        deployment.check()
    finally:
        deployment.close()
