"""F10: what counts as stuck, and what does not; a worker of fakes on a clock of its own.

Each test was seen to fail with the mutant of ``streams/watchdog.py`` that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from streams.delivery import Cursor
from streams.environment import Environment
from streams.options import Limits
from streams.ownership import Ownership
from streams.partition import Phase
from streams.producer import DELIVERY_TIMEOUT_S
from streams.watchdog import Watchdog
from topics.names import TopicNames

NAMES = TopicNames("t")
LIMITS = Limits(turn_timeout_s=100.0, recovery_timeout_s=300.0)
SLACK_S = 10.0
OWN_S = 5.0
TURN_BOUND_S = 100.0 + SLACK_S
RECOVERY_BOUND_S = 300.0 + SLACK_S
DELIVERY_BOUND_S = DELIVERY_TIMEOUT_S + SLACK_S


def partition(number: int, **fields: Any) -> SimpleNamespace:
    """An open one, in which nothing waits."""
    state = {"phase": Phase.OPEN, "epoch": 1, "number": number, "waiting_for_slot": {}, "deadlines": {}}
    return SimpleNamespace(**state | fields)


def begin(cursor: Cursor) -> None:
    """Have a record begin that is not done; the oldest where nothing else is begun."""
    cursor.acks.deliver(cursor.acks._end)


class WatchedWorker:
    """Owns one partition, number 0, and polls each second while it may; the test moves everything else."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_polling = True
        self.lease = SimpleNamespace(is_over=False)
        self.messages, self.control, self.events = Cursor(50), Cursor(5), Cursor(500)
        self.partition = partition(0)
        self.consumer = SimpleNamespace(
            polls=0,
            cursors={
                TP(NAMES.messages, 0): self.messages,
                TP(NAMES.control, 0): self.control,
                TP(NAMES.events, 0): self.events,
            },
        )
        self.write_path = SimpleNamespace(failed=0)
        self.ownership = SimpleNamespace(
            is_settled=True, generation=1, owned={0}, partitions={0: self.partition}, consumer=self.consumer
        )
        env = SimpleNamespace(lease=self.lease, limits=LIMITS, names=NAMES, write_path=self.write_path)
        self.watchdog = Watchdog(
            cast("Environment", env), cast("Ownership", self.ownership), slack_s=SLACK_S, clock=lambda: self.now
        )

    def begin_message(self) -> None:
        """Have a message begin that is not done."""
        begin(self.messages)

    def end_message(self) -> None:
        """Have the oldest message done."""
        self.messages.acks.ack(self.messages.acks.watermark)

    def reopen(self) -> None:
        """Lose the epoch and open the partition again: its own opening is an event more."""
        self.partition.phase = Phase.OPEN if self.partition.phase is not Phase.OPEN else Phase.OPENING
        if self.partition.phase is Phase.OPEN:
            self.events.handled += 1
            self.partition.epoch = self.events.handled

    def give_back(self) -> None:
        """Have what is begun fetched again, from the oldest that is not done, as behind a lost epoch."""
        for name in ("messages", "control"):
            cursor = Cursor(getattr(self, name).acks.watermark)
            setattr(self, name, cursor)
            self.consumer.cursors[TP(getattr(NAMES, name), 0)] = cursor

    def reopen_at_once(self) -> None:
        """Lose the epoch, and open the partition again, between two looks."""
        self.partition.epoch += 1
        self.give_back()

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
    """Nothing waits, so nothing has to move. Mutant: whether a record is begun not asked."""
    assert worker.watch(10_000) is None


def test_recovery_that_never_ends_is_stuck(worker: WatchedWorker) -> None:
    """Only beyond its own deadline and the slack. Mutants: no end; the slack left out."""
    worker.ownership.is_settled = False
    assert worker.watch(RECOVERY_BOUND_S) is None
    assert "recovery" in (worker.watch(5) or "")


def test_recovery_of_another_generation_begins_anew(worker: WatchedWorker) -> None:
    """A group that rebalances is no recovery that stands. Mutant: the generation not in the state."""
    worker.ownership.is_settled = False

    def rebalance(second: int) -> None:
        worker.ownership.generation += second % 200 == 0

    assert worker.watch(2000, rebalance) is None


def test_recovery_s_time_is_forgotten_when_it_ends(worker: WatchedWorker) -> None:
    """A second one of the same generation has all its time. Mutant: its stand kept when it ends."""
    for is_settled in (False, True, False):
        worker.ownership.is_settled = is_settled
        assert worker.watch(RECOVERY_BOUND_S - 20) is None


def test_consumer_that_no_longer_polls_is_stuck(worker: WatchedWorker) -> None:
    """With good heartbeats it would hold its partitions for ever. Mutants: no end; half of the slack."""
    assert worker.watch(100) is None
    worker.is_polling = False
    assert worker.watch(SLACK_S - 1) is None
    assert "polls" in (worker.watch(5) or "")


def test_consumer_need_not_poll_during_a_recovery(worker: WatchedWorker) -> None:
    """Nothing is fetched meanwhile; behind it the first poll has all its time. Mutant: polls looked at all the same."""
    assert worker.watch(100) is None
    worker.ownership.is_settled = worker.is_polling = False
    assert worker.watch(RECOVERY_BOUND_S - 20) is None
    worker.ownership.is_settled = True
    assert worker.watch(SLACK_S - 1) is None
    assert "polls" in (worker.watch(5) or "")


def test_partition_that_comes_back_begins_anew(worker: WatchedWorker) -> None:
    """What it waited for when it went to another worker does not count. Mutant: stands of lost partitions kept."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None
    worker.ownership.partitions = {}
    assert worker.watch(1000) is None
    worker.ownership.partitions = {0: worker.partition}
    assert worker.watch(TURN_BOUND_S - 10) is None
    assert "partition 0" in (worker.watch(20) or "")


def test_what_stands_is_late_before_it_is_stuck(worker: WatchedWorker) -> None:
    """By half of the slack: the endpoint says so, and the process goes on. Mutant: the slack left out."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 1) is None
    (late,) = [finding for finding in worker.watchdog.findings if finding.is_late]
    assert late.what == "partition 0 stands at 50"
    assert not late.is_stuck


def test_consumer_that_owns_nothing_need_not_poll(worker: WatchedWorker) -> None:
    """One worker more than there are partitions. Mutant: what is owned not asked."""
    worker.ownership.owned, worker.ownership.partitions, worker.is_polling = set(), {}, False
    assert worker.watch(1000) is None


def test_message_that_is_never_done_is_stuck(worker: WatchedWorker) -> None:
    """It is done within a turn's bound, or something hangs. Mutants: partitions not looked at; the slack left out."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S) is None
    assert worker.watch(5) == f"partition 0 stands at 50 for {TURN_BOUND_S + 1:.0f} s"


def test_messages_that_are_done_one_after_another_are_not_stuck(worker: WatchedWorker) -> None:
    """However long the queue stays full: the watermark moves. Mutant: it is not in the state."""
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
    """The clock begins with the message. Mutants: the watermark not in the state; whether one is begun not asked."""
    worker.begin_message()
    assert worker.watch(100) is None
    worker.end_message()
    assert worker.watch(1000) is None
    worker.begin_message()
    assert worker.watch(100) is None


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.OPENING])
def test_partition_that_never_opens_is_stuck(worker: WatchedWorker, phase: Phase) -> None:
    """Its own opening never comes back, nor any event; no message is even taken. Mutant: its phase not asked."""
    worker.partition.phase = phase
    assert worker.watch(TURN_BOUND_S) is None
    assert "partition 0" in (worker.watch(5) or "")


def test_catch_up_that_goes_on_is_not_stuck(worker: WatchedWorker) -> None:
    """Folding from the first event may take longer than any turn. Mutant: how far it is folded not in the state."""
    worker.partition.phase, worker.partition.epoch = Phase.OPENING, -1

    def fold(second: int) -> None:
        worker.events.handled += 100

    assert worker.watch(10 * TURN_BOUND_S, fold) is None
    worker.partition.phase, worker.partition.epoch = Phase.OPEN, worker.events.handled
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None


def test_catch_up_that_stops_is_stuck(worker: WatchedWorker) -> None:
    """Half way, for longer than the bound. Mutant: a closed partition not looked at."""
    worker.partition.phase, worker.partition.epoch = Phase.OPENING, -1

    def fold(second: int) -> None:
        worker.events.handled += 100 * (second < 200)

    assert worker.watch(190 + TURN_BOUND_S, fold) is None
    assert worker.watch(20) is not None


@pytest.mark.parametrize("every_s", [1, 20, 60])
def test_partition_that_reopens_again_and_again_is_stuck(worker: WatchedWorker, every_s: int) -> None:
    """Its epochs move, its messages do not. Mutants: phase, epoch, or what is folded behind the first, in the state."""
    worker.begin_message()

    def reopen(second: int) -> None:
        if second % every_s == 0:
            worker.reopen()

    assert worker.watch(TURN_BOUND_S - 1, reopen) is None
    assert "partition 0" in (worker.watch(4 * TURN_BOUND_S, reopen) or "")


def test_lease_over_no_time_counts(worker: WatchedWorker) -> None:
    """When the broker is back, everything has its whole time again. Mutants: the lease not asked; stands kept."""
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 10) is None
    worker.lease.is_over, worker.is_polling = True, False
    assert worker.watch(10_000) is None
    worker.lease.is_over, worker.is_polling = False, True
    assert worker.watch(TURN_BOUND_S - 10) is None
    assert worker.watch(20) is not None


def test_lease_over_during_a_recovery_no_time_counts(worker: WatchedWorker) -> None:
    """As for messages. Mutants: the same."""
    worker.ownership.is_settled = False
    assert worker.watch(RECOVERY_BOUND_S - 10) is None
    worker.lease.is_over = True
    assert worker.watch(10_000) is None
    worker.lease.is_over = False
    assert worker.watch(RECOVERY_BOUND_S - 10) is None


def test_stopped_partition_is_left_out_and_the_others_are_not(worker: WatchedWorker) -> None:
    """It waits for a newer version (rule 6). Mutants: it is looked at; the others are not."""
    worker.begin_message()
    worker.partition.phase = Phase.STOPPED
    assert worker.watch(1000) is None
    worker.ownership.partitions[1] = partition(1, phase=Phase.OPENING, epoch=-1)
    worker.consumer.cursors |= {TP(NAMES.messages, 1): Cursor(7), TP(NAMES.events, 1): Cursor(70)}
    assert "partition 1" in (worker.watch(200) or "")


# -- A message's own deadline


def test_message_beyond_its_own_deadline_is_late_before_a_turn_s_bound(worker: WatchedWorker) -> None:
    """Healthy is who ends it then, and records it within half of the slack. Mutant: ``late_s=turn_s``."""
    worker.begin_message()
    worker.partition.deadlines[50] = OWN_S
    assert worker.watch(OWN_S + SLACK_S / 2) is None
    assert not any(finding.is_late for finding in worker.watchdog.findings)
    assert worker.watch(5) is None
    assert [str(finding) for finding in worker.watchdog.findings if finding.is_late] == [
        "partition 0 stands at 50 for 14 s"
    ]


def test_message_beyond_its_own_deadline_is_stuck_once_its_records_are_known(worker: WatchedWorker) -> None:
    """Mutants: the bound of all turns for it; its own without the time in which a delivery is unknown."""
    worker.begin_message()
    worker.partition.deadlines[50] = OWN_S
    assert worker.watch(DELIVERY_BOUND_S) is None
    assert "partition 0" in (worker.watch(5) or "")


def test_deadline_of_another_message_does_not_count(worker: WatchedWorker) -> None:
    """Only the oldest holds the commit back. Mutant: the least deadline of all."""
    worker.begin_message()
    worker.partition.deadlines[51] = OWN_S
    assert worker.watch(TURN_BOUND_S) is None
    assert "partition 0" in (worker.watch(5) or "")


def test_turn_that_is_ended_at_its_bound_is_not_late(worker: WatchedWorker) -> None:
    """What its records and its fold take is no sign of ill health. Mutant: late from the bound on."""
    worker.begin_message()
    assert worker.watch(100 + SLACK_S / 2) is None
    assert not any(finding.is_late for finding in worker.watchdog.findings)


# -- What was begun in an epoch that is over


@pytest.mark.parametrize("every_s", [2, 20, 60])
def test_message_given_back_again_and_again_is_stuck(worker: WatchedWorker, every_s: int) -> None:
    """Between two epochs nothing is begun, and then the same message. Mutant: forgotten where nothing is begun."""

    def reopen(second: int) -> None:
        if second % every_s == 0:
            worker.reopen_at_once()
        elif second % every_s == 1:
            worker.begin_message()

    assert "partition 0 stands at 50" in (worker.watch(4 * TURN_BOUND_S, reopen) or "")


def test_message_given_back_and_left_in_kafka_is_not_stuck(worker: WatchedWorker) -> None:
    """There may be no room for it, however long; then it has the time that it had left. Mutant: that time counts."""
    worker.begin_message()
    assert worker.watch(60) is None
    worker.reopen_at_once()
    assert worker.watch(10_000) is None
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 60 - 2) is None
    assert "partition 0" in (worker.watch(10) or "")


def test_partition_opened_again_without_a_message_leaves_no_time_behind(worker: WatchedWorker) -> None:
    """The next message has all its time. Mutant: the clock not begun anew with it."""
    worker.partition.phase = Phase.OPENING
    assert worker.watch(60) is None
    worker.partition.phase = Phase.OPEN
    assert worker.watch(1000) is None
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 1) is None
    worker.end_message()
    worker.partition.phase = Phase.OPENING
    assert worker.watch(60) is None
    worker.partition.phase = Phase.OPEN
    worker.begin_message()
    assert worker.watch(TURN_BOUND_S - 1) is None


# -- Recovery of others


def test_kept_partition_recovery_of_others_does_not_count(worker: WatchedWorker) -> None:
    """Nothing is fetched meanwhile, so no outcome is folded; no new time, either. Mutants: it counts; begun anew."""
    worker.begin_message()
    assert worker.watch(60) is None
    worker.ownership.is_settled = False
    assert worker.watch(RECOVERY_BOUND_S - 20) is None
    worker.ownership.is_settled = True
    assert worker.watch(TURN_BOUND_S - 60 - 1) is None
    assert "partition 0" in (worker.watch(5) or "")


# -- Control and events


def test_control_that_is_never_done_is_stuck(worker: WatchedWorker) -> None:
    """Its commit would stand for ever, and nobody would hear of it. Mutant: ``messages`` alone is looked at."""
    begin(worker.control)
    assert worker.watch(TURN_BOUND_S) is None
    assert worker.watch(5) == f"partition 0: control stands at 5 for {TURN_BOUND_S + 1:.0f} s"


def test_cancels_that_wait_for_their_messages_are_not_late(worker: WatchedWorker) -> None:
    """Each is kept for a turn's longest time, one behind another. Mutant: a bound below that time."""
    begin(worker.control)

    def forget(second: int) -> None:
        if second % 100 == 99:
            begin(worker.control)
            worker.control.acks.ack(worker.control.acks.watermark)
        assert not any(finding.is_late for finding in worker.watchdog.findings)

    assert worker.watch(1000, forget) is None


def test_cancel_that_waits_begins_anew_with_each_epoch(worker: WatchedWorker) -> None:
    """It is given back, and kept for as long again. Mutant: the epoch not in the state."""
    begin(worker.control)
    assert worker.watch(90) is None
    worker.reopen_at_once()
    begin(worker.control)
    assert worker.watch(TURN_BOUND_S) is None
    assert "control" in (worker.watch(5) or "")


def test_control_that_waits_for_the_barrier_is_not_stuck_while_the_past_is_folded(worker: WatchedWorker) -> None:
    """It is taken before its partition opens. Mutant: how far the past is folded not in the state."""
    worker.partition.phase, worker.partition.epoch = Phase.OPENING, -1
    begin(worker.control)

    def fold(second: int) -> None:
        worker.events.handled += 100

    assert worker.watch(10 * TURN_BOUND_S, fold) is None


def test_event_that_is_never_done_is_stuck(worker: WatchedWorker) -> None:
    """A receipt that was lost on its way through the write path. Mutant: ``messages`` alone is looked at."""
    begin(worker.events)
    assert worker.watch(TURN_BOUND_S) is None
    assert worker.watch(5) == f"partition 0: events stand at 500 for {TURN_BOUND_S + 1:.0f} s"


def test_event_that_waits_for_the_changelog_is_not_stuck_while_the_broker_refuses(worker: WatchedWorker) -> None:
    """Its partition may have no leader while heartbeats succeed. Mutant: failed deliveries not in the state."""
    begin(worker.events)

    def fail(second: int) -> None:
        worker.write_path.failed += second % 62 == 61

    assert worker.watch(2000, fail) is None
    assert "events" in (worker.watch(TURN_BOUND_S + 62) or "")


def test_events_that_are_confirmed_one_after_another_are_not_stuck(worker: WatchedWorker) -> None:
    """However many wait. Mutant: the number that is begun in place of the oldest."""
    begin(worker.events)

    def confirm(second: int) -> None:
        begin(worker.events)
        worker.events.acks.ack(worker.events.acks.watermark)

    assert worker.watch(2000, confirm) is None


def test_control_and_events_of_a_stopped_partition_are_left_out(worker: WatchedWorker) -> None:
    """Nothing of it is consumed any more. Mutant: stopped partitions looked at."""
    begin(worker.control)
    begin(worker.events)
    worker.partition.phase = Phase.STOPPED
    assert worker.watch(1000) is None
