"""Fixtures of the fence tests: workers in the test's own loop."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from streams.consumer import SessionConsumer
from tests.support.deployment import Deployment, LocalWorker
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def local(deployment: Deployment, switched_off: None) -> Callable[..., LocalWorker]:
    """Give a function that makes a worker in the test's loop, to be entered with ``async with``."""

    def make(name: str = "w1", *, agents: Any = None, **options: Any) -> LocalWorker:
        # It leaves the group when it ends: nobody waits for the time-out, and a stalled machine does not reach it.
        options["consumer"] = {"session_timeout_s": 30.0, **options.get("consumer", {})}
        return LocalWorker(deployment, deployment.spec(name, **options), agents)

    return make


class Dropper:
    """Loses the next deliveries of a topic on their way to the agent."""

    def __init__(self) -> None:
        self.pending: dict[str, int] = {}
        self.dropped: list[str] = []

    def drop_next(self, topic: str, count: int = 1) -> None:
        """Have the topic's next ``count`` deliveries lost."""
        self.pending[topic] = count

    def loses(self, topic: str) -> bool:
        """Say whether this one is lost."""
        if not self.pending.get(topic):
            return False
        self.pending[topic] -= 1
        self.dropped.append(topic)
        return True


@pytest.fixture
def dropper(monkeypatch: pytest.MonkeyPatch) -> Dropper:
    """Lose deliveries between our loop and the agent's channel, as Faust does around a rebalance (S1)."""
    made = Dropper()
    delivery_of = SessionConsumer._delivery

    def dropping(self: SessionConsumer, tp: Any, batch: list[Any]) -> Any:
        delivery = delivery_of(self, tp, batch)
        return None if delivery is not None and made.loses(tp.topic) else delivery

    monkeypatch.setattr(SessionConsumer, "_delivery", dropping)
    return made


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """No thread and no child process outlives a test."""
    threads, children = set(threading.enumerate()), set(psutil.Process().children())
    yield
    deadline = time.monotonic() + DEADLINE_S
    while left := [thread.name for thread in threading.enumerate() if thread not in threads]:
        assert time.monotonic() < deadline, f"threads left behind: {left}"
        threading.Event().wait(0.02)
    assert not set(psutil.Process().children()) - children
