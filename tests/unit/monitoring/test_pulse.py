"""The loop's pulse, and who hears that it stops."""

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest

from streams.monitoring import pulse as module
from streams.monitoring.histogram import Histogram
from streams.monitoring.pulse import LoopWatch, Pulse
from tests.support.waiting import eventually

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


async def test_pulse_beats_on_and_measures_its_delay(watched: tuple[Pulse, LoopWatch]) -> None:
    """Once for each beat."""
    pulse, _ = watched
    pulse.start()
    await eventually(lambda: pulse.beats >= 3)
    assert sum(pulse._delay.counts) == pulse.beats


class Ticks(threading.Event):
    """Lets a watch's loop run so many times, without a wait; its clock goes on by each wait, or by ``seconds``."""

    def __init__(self, count: int, at_each: Callable[[], None] = lambda: None, seconds: float | None = None) -> None:
        super().__init__()
        self.now = 0.0
        self._left, self._at_each, self._seconds = count, at_each, seconds

    def wait(self, timeout: float | None = None) -> bool:
        """Say whether to stop."""
        assert timeout is not None
        self.now += timeout if self._seconds is None else self._seconds
        self._left -= 1
        self._at_each()
        return self._left < 0


def watch_run(watch: LoopWatch, ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a watch's loop here, by the clock of ``ticks``."""
    watch._stop = ticks
    with monkeypatch.context() as patched:
        patched.setattr(module.time, "monotonic", lambda: ticks.now)
        watch._run()


def test_loop_that_runs_is_never_blocked(
    watched: tuple[Pulse, LoopWatch], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long. Mutant: a beat does not set the time back to 0."""
    pulse, watch = watched
    ticks = itertools.count()

    def beat_at_every_fourth() -> None:
        pulse.beats += next(ticks) % 4 == 0

    watch_run(watch, Ticks(200, beat_at_every_fourth), monkeypatch)
    assert not heard.blocked
    assert watch.blocked_s < _BOUND_S


def test_loop_that_beats_no_more_is_blocked_after_the_bound(
    watched: tuple[Pulse, LoopWatch], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before, and told once. Mutant: no ``return`` behind it."""
    _, watch = watched
    watch_run(watch, Ticks(200), monkeypatch)
    ((seconds, _),) = heard.blocked
    assert _BOUND_S < seconds <= _BOUND_S + watch._tick_s


async def test_loop_that_is_blocked_is_heard_of_once_with_its_thread(
    watched: tuple[Pulse, LoopWatch], heard: Heard, no_exit: list[float]
) -> None:
    """While it is blocked; afterwards the delay is in the histogram, and faulthandler was armed beyond the bound."""
    pulse, watch = watched
    pulse.start()
    watch.start()
    await eventually(lambda: pulse.beats)
    assert heard.event.wait(60.0)  # blocks this loop
    ((seconds, thread),) = heard.blocked
    assert (seconds > _BOUND_S, thread) == (True, threading.get_ident())
    await eventually(lambda: pulse._delay.counts[-1])
    assert len(heard.blocked) == 1
    assert no_exit
    assert set(no_exit) == {_BOUND_S + 10.0}


def test_time_in_which_the_watch_did_not_run_does_not_count(
    watched: tuple[Pulse, LoopWatch], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped for an hour has not been blocked for an hour. Mutant: without ``min``."""
    _, watch = watched
    watch_run(watch, Ticks(2, seconds=3600.0), monkeypatch)
    assert 0.0 < watch.blocked_s < _BOUND_S
    assert not heard.blocked
