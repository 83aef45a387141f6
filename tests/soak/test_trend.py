import random

import pytest

from tests.soak.finding import Limits, finding_of_trend
from tests.soak.trend import MIN_POINTS, trend_of

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
    assert finding_of_trend("x", trend, LIMITS, per="session").is_fault


def test_trend_of_too_few_points_raises() -> None:
    """One point too few."""
    with pytest.raises(ValueError, match="no trend"):
        trend_of(_points(0, 1)[: MIN_POINTS - 1])
