"""The memory of Python's objects: traced, measured after each cycle, judged by its trend."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.soak.finding import Finding, Limits, finding_of_trend
from tests.soak.pace import Pace
from tests.soak.trend import trend_of

_TOP = 10


@contextmanager
def tracing() -> Iterator[None]:
    """Trace allocations meanwhile."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def traced_growth(
    what: str, cycle: Callable[[], Awaitable[int]], limits: Limits, pace: Pace, *, per: str
) -> Finding:
    """Measure after each cycle, while memory is traced.

    Args:
        what: Its name in the report.
        cycle: Does something and returns how many of it were done so far.
        limits: When growth is a leak.
        pace: How long to measure.
        per: What ``cycle`` counts.
    """
    points: list[tuple[float, float]] = []
    for _ in pace.cycles(what, is_flat=lambda: limits.is_flat(trend_of(points))):
        points.append((await cycle(), _traced_bytes()))  # noqa: PERF401 -- read as they come
    trend = trend_of(points)
    growth: tuple[str, ...] = ()
    if limits.is_leak(trend):
        before = _snapshot()
        await cycle()
        growth = tuple(str(line) for line in _snapshot().compare_to(before, "lineno")[:_TOP])
    return finding_of_trend(f"{what}: traced memory", trend, limits, per=per, growth=growth)


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _snapshot() -> tracemalloc.Snapshot:
    """All that is allocated now, without the tracing's own."""
    gc.collect()
    own = tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__)
    return tracemalloc.take_snapshot().filter_traces((own,))
