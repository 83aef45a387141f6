"""R2: how long a worker may believe that its partitions are its own."""

import pytest

from streams.lease import Lease
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """Give the lease's clock."""
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> Lease:
    """Give a lease of 6 s, and 20 s more while the group rebalances."""
    return Lease(6.0, 20.0, clock=clock)


def test_no_heartbeat_yet_is_not_over(lease: Lease, clock: Clock) -> None:
    """Nothing was assigned, so nothing is given away; nor if the group refused the first request to join."""
    clock.now += 1000.0
    assert not lease.is_over
    lease.end()
    assert not lease.is_over


def test_lease_runs_from_the_heartbeat_that_was_sent(lease: Lease, clock: Clock) -> None:
    """Valid for the session time-out, suspended time included, and again after the next good heartbeat."""
    lease.renew(lease.now())
    clock.now += 6.0
    assert not lease.is_over
    clock.now += 0.1
    assert lease.is_over
    lease.renew(clock.now - 5.0)
    assert not lease.is_over
    clock.now += 2.0
    assert lease.is_over


def test_member_that_waits_for_a_slow_rebalance_keeps_it(lease: Lease, clock: Clock) -> None:
    """The coordinator holds a joining member without heartbeats: for the rebalance's time-out, not for ever."""
    lease.renew(lease.now())
    clock.now += 5.0
    lease.joining = True
    clock.now += 20.0
    assert not lease.is_over
    clock.now += 6.1
    assert lease.is_over


def test_member_that_waits_for_one_rebalance_after_the_other_keeps_it(lease: Lease, clock: Clock) -> None:
    """Each time that it asks to join it is a member still."""
    lease.renew(lease.now())
    for _ in range(5):
        lease.joining = True
        clock.now += 15.0
    assert not lease.is_over


def test_over_then_joining_is_over_until_renewed(lease: Lease, clock: Clock) -> None:
    """A worker frozen for 30 s asks to join again: what it wrote meanwhile would be a zombie's.

    Line: ``joining`` without ``not self.is_over``.
    """
    lease.renew(lease.now())
    clock.now += 30.0
    assert lease.is_over
    lease.joining = True
    assert lease.is_over
    clock.now += 25.0
    assert lease.is_over
    lease.renew(lease.now())
    lease.joining = False
    assert not lease.is_over


def test_joining_that_came_to_nothing_leaves_the_last_heartbeat(lease: Lease, clock: Clock) -> None:
    """Where the request to join was not heard, the coordinator counts from the last one that was."""
    lease.renew(lease.now())
    lease.joining = True
    clock.now += 5.0
    lease.joining = False
    assert not lease.is_over
    clock.now += 1.1
    assert lease.is_over


def test_ended_is_over_at_once_also_while_joining(lease: Lease) -> None:
    """Frozen while the group rebalanced without it: the coordinator says so, no time has to pass."""
    lease.renew(lease.now())
    lease.joining = True
    lease.end()
    assert lease.is_over
    lease.joining = True
    assert lease.is_over
