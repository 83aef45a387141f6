"""F10: what counts as stuck, and what does not; a worker of fakes on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from faust.types import TP

from streams.delivery import Cursor
from streams.environment import Environment
from streams.options import Limits
from streams.ownership import Ownership
from streams.partition import Phase
from streams.watchdog import Watchdog
from topics.names import TopicNames

NAMES = TopicNames("t")
LIMITS = Limits(turn_timeout_s=100.0, recovery_timeout_s=300.0)
SLACK_S = 10.0
TURN_BOUND_S = 100.0 + SLACK_S
RECOVERY_BOUND_S = 300.0 + SLACK_S


class WatchedWorker:
    """Owns one partition, number 0, and polls each second while it may; the test moves everything else."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_polling = True
        self.lease = SimpleNamespace(is_over=False)
        self.messages, self.events = Cursor(50), Cursor(500)
        self.partition = SimpleNamespace(phase=Phase.OPEN, epoch=1, number=0, waiting_for_slot={})
        self.consumer = SimpleNamespace(
            polls=0, cursors={TP(NAMES.messages, 0): self.messages, TP(NAMES.events, 0): self.events}
        )
        self.ownership = SimpleNamespace(
            is_settled=True, generation=1, owned={0}, partitions={0: self.partition}, consumer=self.consumer
        )
        env = SimpleNamespace(lease=self.lease, limits=LIMITS, names=NAMES)
        self.watchdog = Watchdog(
            cast("Environment", env), cast("Ownership", self.ownership), slack_s=SLACK_S, clock=lambda: self.now
        )

    def begin_message(self) -> None:
        """Have a message begin that is not done."""
        self.messages.acks.deliver(self.messages.acks.watermark)

    def end_message(self) -> None:
        """Have the oldest message done."""
        self.messages.acks.ack(self.messages.acks.watermark)

    def reopen(self) -> None:
        """Lose the epoch and open the partition again: its own opening is an event more."""
        self.partition.phase = Phase.OPEN if self.partition.phase is not Phase.OPEN else Phase.OPENING
        if self.partition.phase is Phase.OPEN:
            self.events.handled += 1
            self.partition.epoch = self.events.handled

    def watch(self, seconds: float, each_second: Callable[[int], None] = lambda _: None) -> str | None:
        """Let time pass, asking once a second; what is stuck, if anything ever is."""
        for second in range(int(seconds)):
            self.now += 1.0
            self.consumer.polls += self.is_polling
            each_second(second)
            stuck = self.watchdog.stuck()
            if stuck is not None:
                return stuck
        return None


@pytest.fixture
def worker() -> WatchedWorker:
    """Give a worker to which nothing has happened."""
    return WatchedWorker()


def test_idle_worker_is_never_stuck(worker: WatchedWorker) -> None:
    """Nothing waits, so nothing has to move."""
    assert worker.watch(10_000) is None


def test_recovery_that_never_ends_is_stuck(worker: WatchedWorker) -> None:
    """Only beyond its own deadline and the slack."""
    worker.ownership.is_settled = False
    assert worker.watch(RECOVERY_BOUND_S) is None
    assert "recovery" in (worker.watch(5) or "")


def test_recovery_of_another_generation_begins_anew(worker: WatchedWorker) -> None:
    """A group that rebalances is no recovery that stands."""
    worker.ownership.is_settled = False

    def rebalance(second: int) -> None:
        worker.ownership.generation += second % 200 == 0

    assert worker.watch(2000, rebalance) is None


def test_recovery_s_time_is_forgotten_when_it_ends(worker: WatchedWorker) -> None:
    """A second recovery of the same generation has all its time."""
    for is_settled in (False, True, False):
        worker.ownership.is_settled = is_settled
        assert worker.watch(RECOVERY_BOUND_S - 20) is None


def test_consumer_that_no_longer_polls_is_stuck(worker: WatchedWorker) -> None:
    """With good heartbeats it would hold its partitions for ever."""
    assert worker.watch(100) is None
    worker.is_polling = False
    assert worker.watch(SLACK_S - 1) is None
    assert "polls" in (worker.watch(5) or "")


def test_consumer_need_not_poll_during_a_recovery(worker: WatchedWorker) -> None:
    """Nothing is fetched meanwhile; behind it the first poll has all its time."""
    assert worker.watch(100) is None
    worker.ownership.is_settled = worker.is_polling = False
    assert worker.watch(RECOVERY_BOUND_S - 20) is None
    worker.ownership.is_settled = True
    assert worker.watch(SLACK_S - 1) is None
    assert "polls" in (worker.watch(5) or "")


def test_partition_that_comes_back_begins_anew(worker: WatchedWorker) -> None:
    """What it was waiting for when it went to another worker does not count."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None
    worker.ownership.partitions = {}
    assert worker.watch(1000) is None
    worker.ownership.partitions = {0: worker.partition}
    assert worker.watch(TURN_BOUND_S - 10) is None
    assert "partition 0" in (worker.watch(20) or "")


def test_what_stands_is_late_before_it_is_stuck(worker: WatchedWorker) -> None:
    """By the slack: in that time the endpoint says so, and the process goes on."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 1) is None
    (late,) = [finding for finding in worker.watchdog.findings if finding.is_late]
    assert late.what == "partition 0 stands at 50"
    assert not late.is_stuck


def test_consumer_that_owns_nothing_need_not_poll(worker: WatchedWorker) -> None:
    """One worker more than there are partitions."""
    worker.ownership.owned, worker.ownership.partitions, worker.is_polling = set(), {}, False
    assert worker.watch(1000) is None


def test_message_that_is_never_done_is_stuck(worker: WatchedWorker) -> None:
    """The oldest message is done within a turn's bound, or something hangs."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S) is None
    assert worker.watch(5) == f"partition 0 stands at 50 for {TURN_BOUND_S + 1:.0f} s"


def test_messages_that_are_done_one_after_another_are_not_stuck(worker: WatchedWorker) -> None:
    """However long the queue stays full: the watermark moves."""
    worker.begin_message()

    def work(second: int) -> None:
        if second % 100 == 99:
            worker.messages.acks.deliver(worker.messages.acks._end)
            worker.end_message()

    assert worker.watch(5000, work) is None


def test_message_that_waits_for_a_slot_is_stuck_only_while_nobody_is_let_in(worker: WatchedWorker) -> None:
    """A long queue of an agent with few slots moves, if not here. Mutant: the slot's progress not in the state."""
    worker.begin_message()
    slot = worker.partition.waiting_for_slot[50] = SimpleNamespace(progress=(0, 0))
    assert worker.watch(TURN_BOUND_S - 10) is None

    def let_in(second: int) -> None:
        slot.progress = (1 + second // 100, 0)

    assert worker.watch(20 * TURN_BOUND_S, let_in) is None
    assert "partition 0" in (worker.watch(TURN_BOUND_S + 5) or "")


def test_message_that_has_its_slot_is_stuck_whoever_else_is_let_in(worker: WatchedWorker) -> None:
    """Only the oldest message counts. Mutant: the progress of any waiting one in the state."""
    worker.begin_message()
    slot = worker.partition.waiting_for_slot[51] = SimpleNamespace(progress=(0, 0))

    def let_in(second: int) -> None:
        slot.progress = (second, 0)

    assert "partition 0" in (worker.watch(TURN_BOUND_S + 5, let_in) or "")


def test_time_without_a_message_does_not_count_for_the_next(worker: WatchedWorker) -> None:
    """The clock begins with the message, not where the watermark came to stand."""
    worker.begin_message()
    assert worker.watch(100) is None
    worker.end_message()
    assert worker.watch(1000) is None
    worker.begin_message()
    assert worker.watch(100) is None


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.OPENING])
def test_partition_that_never_opens_is_stuck(worker: WatchedWorker, phase: Phase) -> None:
    """Its own opening never comes back, and no event, either; no message is even taken."""
    worker.partition.phase = phase
    assert worker.watch(TURN_BOUND_S) is None
    assert "partition 0" in (worker.watch(5) or "")


def test_catch_up_that_goes_on_is_not_stuck(worker: WatchedWorker) -> None:
    """A partition folded again from its first event may take longer than any turn, and opens in the end."""
    worker.partition.phase, worker.partition.epoch = Phase.OPENING, -1

    def fold(second: int) -> None:
        worker.events.handled += 100

    assert worker.watch(10 * TURN_BOUND_S, fold) is None
    worker.partition.phase, worker.partition.epoch = Phase.OPEN, worker.events.handled
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None


def test_catch_up_that_stops_is_stuck(worker: WatchedWorker) -> None:
    """Half way, for longer than the bound."""
    worker.partition.phase, worker.partition.epoch = Phase.OPENING, -1

    def fold(second: int) -> None:
        worker.events.handled += 100 * (second < 200)

    assert worker.watch(190 + TURN_BOUND_S, fold) is None
    assert worker.watch(20) is not None


@pytest.mark.parametrize("every_s", [1, 20, 60])
def test_partition_that_reopens_again_and_again_is_stuck(worker: WatchedWorker, every_s: int) -> None:
    """Its epochs move, its messages do not. Mutant: phase or epoch in the state."""
    worker.begin_message()

    def reopen(second: int) -> None:
        if second % every_s == 0:
            worker.reopen()

    assert worker.watch(TURN_BOUND_S - 1, reopen) is None
    assert "partition 0" in (worker.watch(4 * TURN_BOUND_S, reopen) or "")


def test_lease_over_no_time_counts(worker: WatchedWorker) -> None:
    """Nothing can move without the broker; when it is back, everything has its whole time again."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None
    worker.lease.is_over, worker.is_polling = True, False
    assert worker.watch(10_000) is None
    worker.lease.is_over, worker.is_polling = False, True
    assert worker.watch(TURN_BOUND_S - 10) is None
    assert worker.watch(20) is not None


def test_lease_over_during_a_recovery_no_time_counts(worker: WatchedWorker) -> None:
    """As for messages."""
    worker.ownership.is_settled = False
    assert worker.watch(RECOVERY_BOUND_S - 10) is None
    worker.lease.is_over = True
    assert worker.watch(10_000) is None
    worker.lease.is_over = False
    assert worker.watch(RECOVERY_BOUND_S - 10) is None


def test_stopped_partition_is_left_out_and_the_others_are_not(worker: WatchedWorker) -> None:
    """It waits for a newer version (rule 6); ending the worker would help nobody."""
    worker.begin_message()
    worker.partition.phase = Phase.STOPPED
    assert worker.watch(1000) is None
    worker.ownership.partitions[1] = SimpleNamespace(phase=Phase.OPENING, epoch=-1, number=1, waiting_for_slot={})
    worker.consumer.cursors |= {TP(NAMES.messages, 1): Cursor(7), TP(NAMES.events, 1): Cursor(70)}
    assert "partition 1" in (worker.watch(200) or "")
