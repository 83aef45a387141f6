"""F10: a worker in which something hangs says so at ``/healthz``, and then ends with a failure and the reason.

Each test fails with its mechanism off: ``BARNABAS_TEST_OFF=watchdog`` (recovery, poll, lane: nothing is noticed),
``loop_watch`` (loop, interpreter), ``hard_exit`` (recovery, lane: the process hangs in its own end).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.ports import free_port
from tests.support.deployment import Deployment, WorkerProcess
from tests.support.endpoint import Endpoint
from tests.support.wedges import TRIGGER, WEDGES
from topics.names import TopicNames

_BOUNDS = {"slack_s": 4.0, "loop_block_s": 3.0, "end_s": 1.5}
_LIMITS = {"turn_timeout_s": 1.5}

#: Far beyond the bounds above, for a busy machine.
_END_S = 40.0


class Wedged:
    """A worker with something in it that hangs, and its endpoint."""

    def __init__(self, deployment: Deployment, wedge: str) -> None:
        port = free_port()
        recovery = {"recovery_timeout_s": 1.5} if wedge == "recovery" else {}
        self.deployment = deployment
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}")
        self.worker: WorkerProcess = deployment.start(
            wedge, wedge=wedge, watchdog=_BOUNDS, limits=_LIMITS | recovery, monitoring={"port": port}
        )

    def set_off(self) -> None:
        """Have it hang; it was well until then."""
        self.worker.wait_ready()
        assert self.endpoint.wait("/readyz", 200)["problems"] == []
        assert self.endpoint.wait("/healthz", 200)["problems"] == []
        self.deployment.publish("s", TRIGGER)
        self.deployment.flush()

    def tells(self, problem: str) -> None:
        """Wait until it is not alive, for this reason."""
        self.endpoint.wait("/healthz", 503, containing=problem, timeout_s=_END_S)

    def last_words(self) -> str:
        """Wait for its end, which is a failure; returns its log."""
        assert self.worker.wait(_END_S) == 1, self.worker.tail()
        return self.worker.log.read_text()


@pytest.fixture(scope="module")
def wedged(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Wedged]]:
    """Give a worker for each wedge, all started at once: that is most of the time."""
    folder = tmp_path_factory.mktemp("wedged")
    deployments = [Deployment(kafka, TopicNames(f"t-{name}-{folder.name}"), _made(folder / name)) for name in WEDGES]
    yield {name: Wedged(made, name) for name, made in zip(WEDGES, deployments, strict=True)}
    for made in deployments:
        made.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_recovery_that_never_ends_is_told_and_ends_the_process(wedged: dict[str, Wedged]) -> None:
    """Its thread hangs for good, so the orderly end hangs as well: the process ends nevertheless."""
    worker = wedged["recovery"]
    assert worker.endpoint.wait("/readyz", 503)["status"] == "not ready"
    worker.tells("recovery has not ended")
    log = worker.last_words()
    assert "recovery has not ended" in log
    assert "the process ends" in log


def test_consumer_that_no_longer_polls_is_told_and_ends_the_process(wedged: dict[str, Wedged]) -> None:
    """With good heartbeats it would hold its partitions for ever."""
    worker = wedged["poll"]
    worker.set_off()
    worker.tells("the consumer no longer polls")
    assert "the consumer no longer polls" in worker.last_words()


def test_message_that_is_never_done_is_told_and_ends_the_process(wedged: dict[str, Wedged]) -> None:
    """A lane that no time-out and no cancellation ends; the orderly end waits for it in vain."""
    worker = wedged["lane"]
    worker.set_off()
    worker.tells("stands at 0")
    log = worker.last_words()
    assert "stands at 0" in log
    assert "the process ends" in log


def test_blocked_event_loop_is_told_and_ends_the_process_with_its_stack(wedged: dict[str, Wedged]) -> None:
    """The endpoint answers meanwhile, figures included: it does not need the loop."""
    worker = wedged["loop"]
    worker.set_off()
    worker.tells("the event loop is blocked")
    assert worker.endpoint.value("barnabas_event_loop_blocked_seconds") > 0
    log = worker.last_words()
    assert "the process ends: the event loop is blocked" in log
    assert "time.sleep(3600)" in log


def test_code_that_holds_the_interpreter_ends_the_process_with_its_stack(wedged: dict[str, Wedged]) -> None:
    """No Python thread can run: the endpoint is silent, and faulthandler's timer ends the process."""
    worker = wedged["interpreter"]
    worker.set_off()
    log = worker.last_words()
    assert "Timeout" in log
    assert "_hold_the_interpreter" in log
