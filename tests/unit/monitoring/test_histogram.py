"""Buckets as Prometheus counts them."""

from hypothesis import given
from hypothesis import strategies as st

from streams.monitoring.histogram import Histogram


def test_value_on_a_bound_belongs_below_it() -> None:
    """``le``: less than or equal."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert histogram.sum == 8.0


@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0.001, 100), min_size=1, unique=True).map(sorted))
def test_buckets_are_cumulative_and_hold_every_value(values: list[float], bounds: list[float]) -> None:
    """Each is how many values are at most its bound."""
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    *bounded, (_, total) = histogram.buckets()
    assert [count for _, count in bounded] == [sum(value <= bound for value in values) for bound in bounds]
    assert total == len(values)
