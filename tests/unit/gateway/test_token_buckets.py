"""How many requests a caller may make: a model of a bucket says the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.gateway.security import token_buckets
from barnabas.gateway.security.token_buckets import TokenBuckets


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.sampled_from([0.5, 1.0, 8.0]),
    burst=st.integers(1, 6),
    pauses=st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 16.0]), max_size=60),
)
def test_takes_are_those_of_a_bucket_of_tokens(rate: float, burst: int, pauses: list[float]) -> None:
    """Filled at ``rate`` up to ``burst``; fractions of a power of two, so that the model adds exactly."""
    clock = _Clock()
    buckets = TokenBuckets(rate, burst, now=clock)
    tokens = float(burst)
    for pause in pauses:
        clock.now += pause
        tokens = min(float(burst), tokens + pause * rate)
        wait = buckets.take("a")
        if tokens >= 1:
            assert wait == 0
            tokens -= 1
        else:
            assert wait == pytest.approx((1 - tokens) / rate)


def test_one_who_waits_as_told_is_let_in() -> None:
    """And not before."""
    clock = _Clock()
    buckets = TokenBuckets(3.0, 2, now=clock)
    assert [buckets.take("a") for _ in range(2)] == [0, 0]
    wait = buckets.take("a")
    clock.now += wait * 0.9
    assert buckets.take("a") > 0
    clock.now += wait * 0.11
    assert buckets.take("a") == 0


def test_callers_do_not_share() -> None:
    """One's flood is not another's."""
    buckets = TokenBuckets(1.0, 1, now=_Clock())
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_callers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented addresses take no memory without end; fails without the eviction."""
    monkeypatch.setattr(token_buckets, "_MAX_CALLERS", 10)
    buckets = TokenBuckets(1.0, 1, now=_Clock())
    for caller in range(1_000):
        buckets.take(caller)
    assert len(buckets) == 10
