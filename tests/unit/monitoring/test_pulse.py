"""The loop's pulse, and who hears that it stops."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from streams.monitoring import pulse as module
from streams.monitoring.histogram import Histogram
from streams.monitoring.pulse import LoopWatch, Pulse

_BOUND_S = 0.4


class Heard:
    """What a watch reported, and when."""

    def __init__(self) -> None:
        self.blocked: list[tuple[float, int]] = []
        self.event = threading.Event()

    def __call__(self, seconds: float, thread: int) -> None:
        """Take a report."""
        self.blocked.append((seconds, thread))
        self.event.set()


@pytest.fixture
def no_exit(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep faulthandler's timer from this process; gives the times it was armed with."""
    armed: list[float] = []
    monkeypatch.setattr(module.faulthandler, "dump_traceback_later", lambda seconds, **_options: armed.append(seconds))
    return armed


@pytest.fixture
def heard() -> Heard:
    """Give a listener."""
    return Heard()


@pytest.fixture
def watched(heard: Heard, no_exit: list[float]) -> Iterator[tuple[Pulse, LoopWatch]]:
    """Give a pulse and its watch, made on this thread and not begun."""
    pulse = Pulse(Histogram((0.05, 0.2)))
    watch = LoopWatch(pulse, bound_s=_BOUND_S, slack_s=10.0, on_blocked=heard)
    yield pulse, watch
    pulse.stop()
    watch.close()


async def test_loop_that_runs_is_never_blocked(watched: tuple[Pulse, LoopWatch], heard: Heard) -> None:
    """Its beats go on, and their delay is measured."""
    pulse, watch = watched
    pulse.start()
    watch.start()
    await asyncio.sleep(3 * _BOUND_S)
    assert not heard.blocked
    assert watch.blocked_s < _BOUND_S
    assert pulse.beats >= 3


async def test_loop_that_is_blocked_is_heard_of_once_with_its_thread(
    watched: tuple[Pulse, LoopWatch], heard: Heard, no_exit: list[float]
) -> None:
    """While it is blocked; afterwards the delay is in the histogram, and faulthandler was armed beyond the bound."""
    pulse, watch = watched
    pulse.start()
    watch.start()
    await asyncio.sleep(0.2)
    assert heard.event.wait(20.0)  # blocks this loop
    ((seconds, thread),) = heard.blocked
    assert (seconds > _BOUND_S, thread) == (True, threading.get_ident())
    await asyncio.sleep(0.2)
    assert pulse._delay.counts[-1] == 1
    assert no_exit
    assert set(no_exit) == {_BOUND_S + 10.0}


class TwoTicks(threading.Event):
    """Lets a watch's loop run twice, without a wait."""

    ticks = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Say whether to stop."""
        self.ticks += 1
        return self.ticks > 2


def test_time_in_which_the_watch_did_not_run_does_not_count(
    watched: tuple[Pulse, LoopWatch], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped for an hour has not been blocked for an hour. Mutant: without ``min``."""
    _, watch = watched
    watch._stop = TwoTicks()
    clock = iter([0.0, 0.1, 3600.0])
    with monkeypatch.context() as patched:
        patched.setattr(module.time, "monotonic", lambda: next(clock))
        watch._run()
    assert 0.0 < watch.blocked_s < _BOUND_S
    assert not heard.blocked
