"""Messages published to the wrong partition, by a client with another partitioner."""

from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.faults import Faults
from topics.names import TopicNames
from topics.partitioner import partition_for

pytestmark = pytest.mark.crash


def test_misplaced_messages_crash_between_republish_and_ack_answered_once(
    kafka: str, topic_names: TopicNames, tmp_path: Path
) -> None:
    """200 messages by librdkafka's CRC32, most of them misplaced; the worker dies after re-routing the 30th.

    What was re-routed and not acknowledged is re-routed again: its id is pinned to the place where it was first
    seen. Fails with ``BARNABAS_TEST_OFF=pinned_id`` (answered twice) and ``forward`` (handled where it landed).
    """
    deployment = Deployment(kafka, topic_names, tmp_path, partitions=8)
    try:
        first = deployment.start("w1", faults=Faults(kill_after_forward=30))
        first.wait_ready()
        for number in range(200):
            deployment.publish(f"s{number % 50}", f"fast {number}", partition=-1)
        deployment.flush()
        misplaced = [m for m in deployment.published if m.partition != partition_for(m.session_id.encode(), 8)]
        assert len(misplaced) > 100
        deployment.died(first)
        second = deployment.start("w1")
        deployment.wait_answered()
        deployment.wait_committed()
        assert second.stop() == 0
        deployment.check()
        by_session = {m.session_id: set() for m in deployment.published}
        for accepted in deployment.log().outcomes.values():
            by_session[accepted.event.session_id].add(accepted.partition)
        assert by_session == {session: {partition_for(session.encode(), 8)} for session in by_session}
        assert len(deployment.log().outcomes) == 200
    finally:
        deployment.close()
