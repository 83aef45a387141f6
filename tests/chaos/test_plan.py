"""The schedule of a run is a pure function of its seed."""

from __future__ import annotations

import pytest

from tests.chaos.plan import COOL_DOWN_S, OUTAGE_S, WARM_UP_S, Kind, Plan, make_plan

#: Of ``make_plan(7, 30.0, workers=2)``.
PINNED = ["4.3 s  wipe w2 for 0.5 s", "15.8 s  join-leave w2 for 2.4 s", "25.3 s  broker-stop w1 for 4.2 s"]


def test_make_plan_same_seed_same_plan_another_seed_another() -> None:
    """Twice the same, and fifty seeds give fifty plans."""
    assert make_plan(7, 120.0) == make_plan(7, 120.0)
    assert len({make_plan(seed, 120.0).faults for seed in range(50)}) == 50


def test_make_plan_is_pinned() -> None:
    """What a seed stood for yesterday it stands for tomorrow: a reported seed can be run again."""
    lines = [str(fault).strip() for fault in make_plan(7, 30.0, workers=2).faults]
    assert lines == PINNED


@pytest.mark.parametrize("seed", range(20))
def test_make_plan_any_seed_keeps_its_bounds(seed: int) -> None:
    """Times ascend and leave warm-up and cool-down alone, workers exist, outages are bounded, all kinds come."""
    plan = make_plan(seed, 180.0, max_outage_s=6.0)
    assert 1 <= plan.workers <= 4
    times = [fault.at_s for fault in plan.faults]
    assert times == sorted(times)
    assert times[0] >= WARM_UP_S
    assert times[-1] < 180.0 - COOL_DOWN_S
    assert all(0 <= fault.worker < plan.workers for fault in plan.faults)
    assert all(fault.duration_s <= 6.0 for fault in plan.faults if fault.kind is Kind.BROKER_STOP)
    assert set(plan.counts) == {str(kind) for kind in Kind}


def _planted(plan: Plan) -> int:
    """How many outages of just 30 s it has; none is longer."""
    stops = [fault for fault in plan.faults if fault.kind is Kind.BROKER_STOP]
    assert all(fault.duration_s <= OUTAGE_S for fault in stops)
    times = [fault.at_s for fault in plan.faults]
    assert times == sorted(times)
    return sum(fault.duration_s == OUTAGE_S for fault in stops)


def test_make_plan_short_run_of_every_fifth_seed_has_an_outage_of_30_s() -> None:
    """In twenty runs in a row there are four, whatever the first seed; the load goes on behind them."""
    plans = [make_plan(seed, 36.0) for seed in range(701, 721)]
    assert [plan.seed for plan in plans if _planted(plan)] == [705, 710, 715, 720]
    assert all(_planted(plan) <= 1 for plan in plans)
    assert all(plan.load_s - plan.duration_s == (OUTAGE_S if _planted(plan) else 0.0) for plan in plans)
    assert all(fault.at_s < 36.0 for plan in plans for fault in plan.faults)


@pytest.mark.parametrize("minutes", [2, 10, 30])
def test_make_plan_long_run_has_an_outage_of_30_s(minutes: int) -> None:
    """Each of them."""
    assert all(_planted(make_plan(seed, minutes * 60.0)) for seed in range(20))


def test_make_plan_longest_outage_given_is_the_longest() -> None:
    """None is planted, nor where the broker is left alone."""
    assert not any(_planted(make_plan(seed, 180.0, max_outage_s=6.0)) for seed in range(20))
    assert not any(_planted(make_plan(seed, 180.0, kinds=(Kind.KILL,))) for seed in range(20))


def test_make_plan_settings_of_each_kind_come() -> None:
    """With and without standbys, with and without shedding, and each with each."""
    plans = [make_plan(seed, 30.0) for seed in range(40)]
    assert {(plan.standby_replicas, plan.shed_lag_s is None) for plan in plans} == {
        (standbys, never) for standbys in (0, 1) for never in (False, True)
    }


def test_make_plan_faults_overlap() -> None:
    """Something lasts while the next thing happens, in most plans."""
    overlapping = sum(
        any(a.at_s + a.duration_s > b.at_s for a, b in zip(plan.faults, plan.faults[1:], strict=False))
        for plan in (make_plan(seed, 60.0) for seed in range(20))
    )
    assert overlapping > 10


def test_make_plan_kinds_given_no_others() -> None:
    """A hunt for one kind of fault gets that kind alone."""
    assert set(make_plan(1, 60.0, kinds=(Kind.KILL,)).counts) == {"kill"}
