"""The adaptive limit grows while it is reached and a pass of the loop is cheap, and shrinks when one is dear."""

from itertools import pairwise

from streams.concurrency import FLOOR, TARGET_PASS_S, ConcurrencyLimit

CHEAP_S, DEAR_S = TARGET_PASS_S / 10, TARGET_PASS_S * 3


def _observe(limit: ConcurrencyLimit, pass_s: float, times: int, *, is_reached: bool = True) -> list[int]:
    values = []
    for _ in range(times):
        limit.observe(pass_s, is_reached=is_reached)
        values.append(limit.value)
    return values


def test_limit_turns_that_only_wait_reaches_the_most_within_half_a_second() -> None:
    """A thousand turns that wait for a model cost the loop nothing; samples come every 50 ms."""
    assert _observe(ConcurrencyLimit(1000), CHEAP_S, 10)[-1] == 1000


def test_limit_not_reached_stays() -> None:
    """Nothing is learned from a limit that bounds nothing."""
    limit = ConcurrencyLimit(1000)
    assert {limit.value} == {*_observe(limit, CHEAP_S, 100, is_reached=False)}


def test_limit_dear_passes_shrinks_to_the_floor_and_not_below() -> None:
    """Step by step, no more than a fifth at a time."""
    limit = ConcurrencyLimit(1000)
    _observe(limit, CHEAP_S, 10)
    values = _observe(limit, DEAR_S, 60)
    assert all(after >= 0.8 * before - 1 for before, after in pairwise(values))
    assert values[-1] < 100
    assert min(_observe(limit, 100 * DEAR_S, 100)) >= FLOOR


def test_limit_dear_passes_shrinks_also_where_it_is_not_reached() -> None:
    """Fewer turns than the limit are too many already."""
    limit = ConcurrencyLimit(1000)
    _observe(limit, CHEAP_S, 10)
    assert _observe(limit, DEAR_S, 20, is_reached=False)[-1] < 1000


def test_limit_once_too_much_grows_by_steps_not_by_doubling() -> None:
    """What was too much once is approached slowly."""
    limit = ConcurrencyLimit(1000)
    _observe(limit, CHEAP_S, 10)
    _observe(limit, DEAR_S, 30)
    low = limit.value
    _observe(limit, CHEAP_S, 5)  # the smoothed sample falls below the target again
    before = limit.value
    (after,) = _observe(limit, CHEAP_S, 1)
    assert low < before < after < 1.5 * before


def test_limit_passes_that_grow_with_it_settles_where_they_cost_the_target() -> None:
    """Each turn costs 50 us of every pass: 200 of them cost the target of 10 ms."""
    limit = ConcurrencyLimit(1000)
    values = []
    for _ in range(300):
        limit.observe(50e-6 * limit.value, is_reached=True)
        values.append(limit.value)
    settled = values[-100:]
    carried = TARGET_PASS_S / 50e-6
    assert 0.8 * carried < min(settled)
    assert max(settled) < 1.4 * carried


def test_limit_never_above_the_most_nor_the_floor_above_it() -> None:
    """A worker of five turns has five."""
    limit = ConcurrencyLimit(5)
    assert limit.value == 5
    assert {*_observe(limit, CHEAP_S, 10), *_observe(limit, DEAR_S, 10)} == {5}
