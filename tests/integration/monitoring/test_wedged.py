"""F10: a worker in which something hangs says so at ``/healthz``, and then ends with a failure and the reason.

Each test fails with its mechanism off: ``BARNABAS_TEST_OFF=watchdog`` (recovery, poll, lane: nothing is noticed),
``loop_watch`` (loop, interpreter), ``hard_exit`` (recovery, lane: the process hangs in its own end).
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra.ports import free_port
from tests.support.deployment import Deployment
from tests.support.endpoint import Endpoint
from tests.support.wedges import TRIGGER
from topics.names import TopicNames

#: Far beyond the bounds below, for a busy machine.
_END_S = 90.0


class Case(NamedTuple):
    """A wedge, and what a worker that meets it is told.

    Attributes:
        problem: What it says of it; empty where it cannot.
        watchdog: Short where this wedge is concerned; elsewhere long, for a busy machine on which five workers start.
    """

    problem: str
    watchdog: dict[str, float]
    limits: dict[str, float] = {}  # noqa: RUF012 -- never changed


CASES = {
    "recovery": Case("recovery has not ended", {"slack_s": 8.0}, {"recovery_timeout_s": 1.5}),
    "poll": Case("the consumer no longer polls", {"slack_s": 10.0}),
    "lane": Case("stands at 0", {"slack_s": 9.0}, {"turn_timeout_s": 3.0}),
    "loop": Case("the event loop is blocked", {"loop_block_s": 6.0}),
    "interpreter": Case("", {"slack_s": 8.0, "loop_block_s": 6.0}),
}


class Ended(NamedTuple):
    """What was seen of a worker in which something hung.

    Attributes:
        log: Its own, to the end.
        readiness: What it said of that while it hung.
        blocked_s: For how long its loop had been blocked when it told of its trouble, in seconds.
    """

    log: str
    readiness: dict[str, Any]
    blocked_s: float


def _ended(deployment: Deployment, wedge: str, case: Case) -> Ended:
    """Have a worker hang that was well until then, hear what it says of it, and wait until it fails."""
    port = free_port()
    endpoint = Endpoint(f"http://127.0.0.1:{port}")
    worker = deployment.start(
        wedge, wedge=wedge, watchdog={"end_s": 1.5, **case.watchdog}, limits=case.limits, monitoring={"port": port}
    )
    if wedge != "recovery":  # that one hangs from the start
        worker.wait_ready()
        assert endpoint.wait("/readyz", 200, timeout_s=_END_S)["problems"] == []
        assert endpoint.wait("/healthz", 200, timeout_s=_END_S)["problems"] == []
        deployment.publish("s", TRIGGER)
        deployment.flush()
    readiness: dict[str, Any] = {}
    blocked_s = 0.0
    if case.problem:
        endpoint.wait("/healthz", 503, containing=case.problem, timeout_s=_END_S)
        if wedge == "recovery":
            _, readiness = endpoint.report("/readyz")
        elif wedge == "loop":
            blocked_s = endpoint.value("barnabas_event_loop_blocked_seconds")
    assert worker.wait(_END_S) == 1, worker.tail()
    return Ended(worker.log.read_text(), readiness, blocked_s)


@pytest.fixture(scope="module")
def wedged(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ended]]]:
    """Give a worker for each wedge, all at once: each takes its time to start, and then its bound."""
    folder = tmp_path_factory.mktemp("wedged")
    deployments = {
        name: Deployment(kafka, TopicNames(f"t-{name}-{folder.name}"), _made(folder / name)) for name in CASES
    }
    with ThreadPoolExecutor(len(CASES)) as threads:
        yield {name: threads.submit(_ended, deployments[name], name, case) for name, case in CASES.items()}
        for made in deployments.values():
            made.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_recovery_that_never_ends_is_told_and_ends_the_process(wedged: dict[str, Future[Ended]]) -> None:
    """Its thread hangs for good, so the orderly end hangs as well: the process ends nevertheless."""
    ended = wedged["recovery"].result()
    assert ended.readiness["status"] == "not ready"
    assert "recovery has not ended" in ended.log
    assert "the process ends" in ended.log


def test_consumer_that_no_longer_polls_is_told_and_ends_the_process(wedged: dict[str, Future[Ended]]) -> None:
    """With good heartbeats it would hold its partitions for ever."""
    assert "the consumer no longer polls" in wedged["poll"].result().log


def test_message_that_is_never_done_is_told_and_ends_the_process(wedged: dict[str, Future[Ended]]) -> None:
    """A lane that no time-out and no cancellation ends; the orderly end waits for it in vain."""
    ended = wedged["lane"].result()
    assert "stands at 0" in ended.log
    assert "the process ends" in ended.log


def test_blocked_event_loop_is_told_and_ends_the_process_with_its_stack(wedged: dict[str, Future[Ended]]) -> None:
    """The endpoint answers meanwhile, figures included: it does not need the loop."""
    ended = wedged["loop"].result()
    assert ended.blocked_s > 0
    assert "the process ends: the event loop is blocked" in ended.log
    assert "time.sleep(3600)" in ended.log


def test_code_that_holds_the_interpreter_ends_the_process_with_its_stack(wedged: dict[str, Future[Ended]]) -> None:
    """No Python thread can run: the endpoint is silent, and faulthandler's timer ends the process."""
    log = wedged["interpreter"].result().log
    assert "Timeout" in log
    assert "_hold_the_interpreter" in log
