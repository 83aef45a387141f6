"""A user's own metrics: made once, told apart, and timed whatever the function is."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import generate_latest

from barnabas import metrics


@pytest.fixture
def name() -> str:
    """Give a name that no other test uses: the registry is the process's."""
    return f"user_{uuid.uuid4().hex}"


def shown(name: str, suffix: str = "") -> float | None:
    """What the endpoint would show of a metric without labels."""
    return metrics.REGISTRY.get_sample_value(name + suffix)


def test_counter_gauge_and_timer_are_shown(name: str) -> None:
    """In Prometheus's words."""
    metrics.counter(f"{name}_total", "Counted.", ("kind",)).labels(kind="a").inc(3)
    metrics.gauge(f"{name}_depth", "Measured.").set(7)
    metrics.timer(f"{name}_seconds", "Timed.").observe(0.2)
    text = generate_latest(metrics.REGISTRY).decode()
    assert f'{name}_total{{kind="a"}} 3.0' in text
    assert f"{name}_depth 7.0" in text
    assert f'{name}_seconds_bucket{{le="0.25"}} 1.0' in text


def test_asked_for_again_is_the_same_metric(name: str) -> None:
    """A module may be imported twice, by another path as well."""
    first = metrics.counter(f"{name}_total", "Counted.", ["kind"])
    assert metrics.counter(f"{name}_total", "Other words.", ("kind",)) is first
    assert metrics.counter(name, "Without Prometheus's suffix.", ("kind",)) is first
    for _ in range(2):
        metrics.timer(f"{name}_seconds", "Timed.").observe(1.0)
    assert shown(f"{name}_seconds", "_count") == 2


@pytest.mark.parametrize(
    "again",
    [
        lambda name: metrics.gauge(name, "Another type."),
        lambda name: metrics.timer(name, "Other labels.", ("kind",)),
        lambda name: metrics.timer(name, "Other buckets.", buckets=(1.0, 2.0)),
    ],
)
def test_clash_of_type_labels_or_buckets_is_refused(name: str, again: Callable[[str], object]) -> None:
    """With both in the text."""
    metrics.timer(name, "Timed.")
    with pytest.raises(ValueError, match=f"metric {name} is a histogram with labels .* already; here it is asked for"):
        again(name)


@pytest.mark.parametrize("reserved", ["barnabas_turns_total", "process_open_fds", "python_gc"])
def test_worker_s_own_names_are_refused(reserved: str) -> None:
    """Two series of one name would break the whole page."""
    with pytest.raises(ValueError, match="the worker's own"):
        metrics.counter(reserved, "Mine.")


def test_timer_decorates_a_function(name: str) -> None:
    """Its result is kept, its name as well, and a failure is timed."""

    @metrics.timer(name, "Timed.")
    def half(number: int) -> float:
        """Halve."""
        if number < 0:
            raise ValueError(number)
        return number / 2

    assert (half(4), half.__name__, half.__doc__) == (2.0, "half", "Halve.")
    with pytest.raises(ValueError, match="-1"):
        half(-1)
    assert shown(name, "_count") == 2


async def test_timer_decorates_a_coroutine_function_waits_included(name: str) -> None:
    """Many at once, each with its own time."""

    @metrics.timer(name, "Timed.")
    async def wait() -> str:
        await asyncio.sleep(0.02)
        return "done"

    assert await asyncio.gather(wait(), wait(), wait()) == ["done"] * 3
    assert shown(name, "_count") == 3
    assert (shown(name, "_sum") or 0) >= 3 * 0.019


def test_timer_with_labels_times_a_block(name: str) -> None:
    """By label."""
    timer = metrics.timer(name, "Timed.", ("tool",))
    with timer.labels(tool="search").time():
        pass
    assert metrics.REGISTRY.get_sample_value(f"{name}_count", {"tool": "search"}) == 1


def test_timer_refuses_a_generator(name: str) -> None:
    """Its calls end before it has begun."""

    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="is a generator"):
        metrics.timer(name, "Timed.")(stream)


def test_module_is_light() -> None:
    """A tool that counts needs neither Faust nor Kafka."""
    heavy = "('faust', 'aiokafka', 'confluent_kafka', 'pydantic')"
    code = f"import sys, barnabas.metrics; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
