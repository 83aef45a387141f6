import math
import random
from contextlib import nullcontext

import pytest

from tests.soak.finding import Limits, SoakReport, finding_of_trend
from tests.soak.process import limits_over
from tests.soak.trend import MIN_POINTS, Trend, trend_of

LIMITS = Limits(tolerated=16, noticed=256)


def _points(slope: float, noise: float, count: int = 30, step: float = 0.0) -> list[tuple[float, float]]:
    made = random.Random(7)
    return [(60.0 * i, 3e6 + slope * 60 * i + made.gauss(0, noise) + step * (i > 2)) for i in range(count)]


def test_trend_of_line_is_its_slope() -> None:
    """Without noise the interval is a point."""
    trend = trend_of([(x, 5 + 3 * x) for x in range(MIN_POINTS)])
    assert (trend.low, trend.slope, trend.high) == (3, 3, 3)


def test_trend_of_noise_contains_zero() -> None:
    """Flat and noisy: the interval lies around 0 and is judged flat."""
    trend = trend_of(_points(0, 20_000))
    assert trend.low < 0 < trend.high
    assert not finding_of_trend("x", trend, LIMITS, per="session").is_fault


def test_trend_of_small_leak_under_noise_is_found() -> None:
    """100 bytes a session under noise of 20 KB a point."""
    trend = trend_of(_points(100, 20_000))
    assert trend.low < 100 < trend.high
    assert LIMITS.is_leak(trend)


def test_trend_of_one_step_is_no_leak() -> None:
    """A table that doubles once, by far more than the noise, is not taken for growth."""
    assert not LIMITS.is_leak(trend_of(_points(0, 20_000, step=400_000)))


def test_finding_of_wide_interval_is_not_clean() -> None:
    """Too much noise to say anything is not flatness."""
    trend = trend_of(_points(0, 2e6))
    assert not LIMITS.is_leak(trend)
    assert not LIMITS.is_flat(trend)
    found = finding_of_trend("x", trend, LIMITS, per="session")
    assert (found.is_fault, found.is_sure) == (True, False)


@pytest.mark.parametrize(("slope", "faults", "leaks"), [(0, 0, 0), (100, 1, 1)])
def test_report_of_trend_leaks_are_the_faults_that_are_sure(slope: float, faults: int, leaks: int) -> None:
    """A short run fails on those alone, one by hand on whatever is not flat."""
    unclear = finding_of_trend("unclear", trend_of(_points(0, 2e6)), LIMITS, per="session")
    report = SoakReport([unclear, finding_of_trend("x", trend_of(_points(slope, 20_000)), LIMITS, per="session")])
    assert (len(report.faults), len(report.leaks)) == (1 + faults, leaks)
    with pytest.raises(AssertionError, match=f"{1 + faults} faults"):
        report.assert_clean()
    with pytest.raises(AssertionError, match="1 leaks") if leaks else nullcontext():
        report.assert_nothing_leaks()


def test_limits_over_many_sessions_are_sharper() -> None:
    """As the docstring says, and never beyond what a short run tolerates."""
    assert [round(limits_over(10**power).tolerated) for power in range(7)] == [2048] * 4 + [1934, 424, 273]


def test_limits_over_a_long_run_find_what_a_short_one_cannot() -> None:
    """600 bytes a session under steps of 64 KiB: over 100,000 sessions a leak, over 6,000 not to be told from settling.

    Fails with the limits of a short run, whatever its length.
    """

    def grown(sessions: int) -> tuple[Trend, Limits]:
        made = random.Random(7)
        points = [(x, 2e8 + 65_536 * round((600 * x + made.gauss(0, 3e5)) / 65_536)) for x in range(0, sessions, 150)]
        return trend_of(points), limits_over(points[-1][0])

    trend, limits = grown(100_000)
    assert limits.is_leak(trend)
    trend, limits = grown(6_000)
    assert not limits.is_leak(trend)


def test_limits_over_a_long_run_tolerate_what_settles() -> None:
    """12 MiB that native memory takes ever more slowly, as its arenas and table files fill."""
    points = [(x, 2e8 + 12 * 2**20 * (1 - math.exp(-x / 20_000))) for x in range(0, 60_000, 150)]
    limits = limits_over(points[-1][0])
    assert not limits.is_leak(trend_of(points))
    assert limits.is_flat(trend_of(points))


def test_trend_of_too_few_points_raises() -> None:
    """One point too few."""
    with pytest.raises(ValueError, match="no trend"):
        trend_of(_points(0, 1)[: MIN_POINTS - 1])
