"""SIGKILL of workers: nothing lost, nothing answered twice, only what was cut off is called again."""

from collections import Counter

import pytest

from streams.providers.scripted import Script
from tests.support.deployment import SCRIPT, Deployment, Load

pytestmark = pytest.mark.crash


def test_kill_in_mid_turn_same_worker_restarts_turns_continue(deployment: Deployment) -> None:
    """40 turns are cut off by a SIGKILL; the worker, restarted on its disk, answers all, each in a new attempt.

    Fails with ``BARNABAS_TEST_OFF=ack_at_once`` (messages that are acknowledged when they are taken are lost).
    """
    worker = deployment.start("w1")
    worker.wait_ready()
    for number in range(40):
        deployment.publish(f"s{number}", f"hang {number}")
        deployment.publish(f"s{number}", f"fast {number}")
    deployment.flush()
    deployment.wait(lambda: len(deployment.log().starts) >= 40, "40 turns run")
    deployment.kill(worker)
    again = deployment.start("w1", script=Script())
    deployment.wait_answered()
    deployment.wait_committed()
    assert again.stop() == 0
    report = deployment.check()
    assert report.cut_off == 40
    assert report.messages == 80


def test_kill_one_of_two_under_load_the_other_takes_over(deployment: Deployment) -> None:
    """One of two workers is killed under 150 messages/s; the other carries on after the session time-out.

    Fails with ``BARNABAS_TEST_OFF=ack_at_once`` (what hung on the dead worker is never answered).
    """
    first, second = deployment.start("w1"), deployment.start("w2", script=Script(default=SCRIPT.default))
    first.wait_ready()
    second.wait_ready()
    deployment.wait(lambda: Counter(deployment.log().owners.values()) == {"w1": 2, "w2": 2}, "each owns two partitions")
    with Load(deployment, rate=150, sessions=300) as load:
        deployment.wait(lambda: len(deployment.log().outcomes) > 200, "turns on both workers")
        owned = [number for number, owner in deployment.log().owners.items() if owner == "w1"]
        for number in range(10):
            deployment.publish(deployment.session_on(owned[number % 2], f"long{number}"), f"hang {number}")
        deployment.flush()
        hanging = {message.turn_id for message in [*deployment.published] if message.text.startswith("hang")}
        deployment.wait(lambda: hanging <= deployment.log().starts.keys(), "long turns run")
        openings = sum(deployment.log().openings.values())
        deployment.kill(first)
        deployment.wait(lambda: sum(deployment.log().openings.values()) > openings, "the other worker took over")
        more = load.sent + 150
        deployment.wait(lambda: load.sent > more, "a second of load on the survivor")
    deployment.wait_answered()
    deployment.wait_committed()
    assert second.stop() == 0
    assert deployment.check().cut_off >= len(hanging) == 10
