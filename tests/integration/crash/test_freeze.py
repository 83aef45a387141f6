"""A worker frozen beyond the session time-out, and woken: its partitions are gone, nothing it writes counts."""

import pytest

from tests.support.deployment import Deployment, Load

pytestmark = pytest.mark.crash


def test_freeze_one_of_two_under_load_wakes_as_a_zombie_every_message_answered_once(deployment: Deployment) -> None:
    """SIGSTOP until the other worker has taken over and worked for a while, then SIGCONT, all under load.

    A naive prototype left 442 of 8,000 messages unanswered here.
    """
    first, second = deployment.start("w1"), deployment.start("w2")
    first.wait_ready()
    second.wait_ready()
    deployment.wait(lambda: len(deployment.log().openings) == deployment.partitions, "all partitions open")
    with Load(deployment, rate=150, sessions=300) as load:
        deployment.wait(lambda: len(deployment.log().outcomes) > 200, "turns on both workers")
        for number in range(20):
            deployment.publish(f"long{number}", f"slow {number}")
        slow = {f"slow {number}" for number in range(20)}
        deployment.wait(lambda: slow <= {call.messages[-1].content for call in deployment.calls()}, "long turns run")
        openings = sum(deployment.log().openings.values())
        first.freeze()
        deployment.wait(lambda: sum(deployment.log().openings.values()) >= openings + 2, "the other worker took over")
        more = load.sent + 150
        deployment.wait(lambda: load.sent > more, "a second of load on the survivor")
        first.thaw()
        deployment.wait(lambda: sum(deployment.log().openings.values()) >= openings + 4, "the woken worker is back")
        more = load.sent + 300
        deployment.wait(lambda: load.sent > more, "two seconds of load on both")
    deployment.wait_answered()
    deployment.wait_committed()
    assert first.stop() == 0
    assert second.stop() == 0
    report = deployment.check()
    assert report.cut_off > 0
