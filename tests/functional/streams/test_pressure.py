"""What back-pressure holds, and for whom."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from schemas.session import PartitionState
from state.partition_fold import PartitionFold
from streams.delivery import Cursor
from streams.options import Limits
from streams.partition import Partition
from streams.pool import TurnPool
from streams.pressure import BackPressure
from topics.names import TopicNames

NAMES = TopicNames("t")


def environment(**limits: Any) -> Any:
    """What a partition and back-pressure need of a worker."""
    made = Limits(**limits)
    pool = TurnPool(max_turns=made.max_turns, pool_timeout_s=made.pool_timeout_s)
    return SimpleNamespace(limits=made, names=NAMES, pool=pool, write_path=SimpleNamespace(unconfirmed=0))


def consumer(partitions: int = 2) -> Any:
    """A consumer of all topics of some partitions."""
    topics = (NAMES.messages, NAMES.control, NAMES.events)
    cursors = {TP(topic, number): Cursor(0) for topic in topics for number in range(partitions)}
    return SimpleNamespace(cursors=cursors, held=set())


def test_partition_not_open_its_messages_are_held_nothing_else_is() -> None:
    """Its control and its events, which open it, still come; so do all other partitions' messages."""
    pressure, taken = BackPressure(environment(), lambda: 0, lambda number: number == 1), consumer()
    for offset in range(5000):  # delivered before its epoch ended
        taken.cursors[TP(NAMES.messages, 0)].acks.deliver(offset)
    pressure.update(taken, draining=False, stopped=set())
    assert taken.held == {TP(NAMES.messages, 0)}
    assert pressure.awaits_opening


def test_partition_opens_its_messages_are_taken() -> None:
    """The hold ends with its cause."""
    is_open: set[int] = set()
    pressure, taken = BackPressure(environment(), lambda: 0, is_open.__contains__), consumer()
    pressure.update(taken, draining=False, stopped=set())
    assert taken.held == {TP(NAMES.messages, 0), TP(NAMES.messages, 1)}
    is_open |= {0, 1}
    pressure.update(taken, draining=False, stopped=set())
    assert taken.held == set()
    assert not pressure.awaits_opening


def test_partition_not_open_what_it_was_given_takes_nobodys_room() -> None:
    """What had been fetched waits for the barrier, however long its refold takes."""
    fold = PartitionFold(PartitionState(partition=0))
    partition = Partition(0, fold, environment(), generation=1, on_lost=lambda *_args: pytest.fail("lost"))
    for _ in range(100):
        partition.when_open(lambda: None)
    assert partition.busy == 100
    assert partition.active == 0
