"""What back-pressure holds, and for whom."""

import time
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
    pool = TurnPool(max_turns=made.max_turns)
    return SimpleNamespace(limits=made, names=NAMES, pool=pool, write_path=SimpleNamespace(unconfirmed=0))


def back_pressure(env: Any, is_open: Any = lambda _number: True, waiting: Any = ()) -> BackPressure:
    """Back-pressure of a worker without lanes at work; ``waiting`` holds the places that wait for a slot."""
    return BackPressure(env, lambda: 0, is_open, lambda number, offset: (number, offset) in waiting)


def consumer(partitions: int = 2) -> Any:
    """A consumer of all topics of some partitions."""
    topics = (NAMES.messages, NAMES.control, NAMES.events)
    cursors = {TP(topic, number): Cursor(0) for topic in topics for number in range(partitions)}
    return SimpleNamespace(cursors=cursors, held=set())


def test_partition_not_open_its_messages_are_not_taken_everything_else_is() -> None:
    """Its control and its events, which open it, still come; so do all other partitions' messages.

    From the first poll on, whenever what is held was last computed. Line: ``wanted`` without ``_is_open``.
    """
    opened = {1}
    pressure, taken = back_pressure(environment(), opened.__contains__), consumer()
    assert pressure.wanted(taken, 20) == taken.cursors.keys() - {TP(NAMES.messages, 0)}
    for offset in range(5000):  # delivered before its epoch ended
        taken.cursors[TP(NAMES.messages, 0)].acks.deliver(offset)
    pressure.update(taken, draining=False, stopped=set())
    assert taken.held == set()
    assert pressure.wanted(taken, 20) == taken.cursors.keys() - {TP(NAMES.messages, 0)}
    opened.add(0)
    assert pressure.wanted(taken, 20) == {*taken.cursors}


def test_no_room_messages_are_not_taken_everything_else_is() -> None:
    """``control`` never waits (P2), and ``events`` make room."""
    pressure, taken = back_pressure(environment()), consumer()
    assert {tp.topic for tp in pressure.wanted(taken, 0)} == {NAMES.control, NAMES.events}


def begin(taken: Any, number: int, messages: int) -> None:
    """Have a partition's messages begun."""
    acks = taken.cursors[TP(NAMES.messages, number)].acks
    for _ in range(messages):
        acks.deliver(acks._end)


def end(taken: Any, number: int, messages: int) -> None:
    """Have a partition's oldest messages done."""
    acks = taken.cursors[TP(NAMES.messages, number)].acks
    for _ in range(messages):
        acks.ack(acks.watermark)


def test_flood_on_one_partition_the_others_go_on_below_their_part() -> None:
    """One session's flood holds up its own partition alone; what is begun stays bounded. Line: `held = messages`."""
    limits = environment(high_water=100, low_water=40)
    pressure, taken = back_pressure(limits), consumer(4)

    def held() -> set[int]:
        pressure.update(taken, draining=False, stopped=set())
        return {tp.partition for tp in taken.held}

    begin(taken, 0, 99)
    assert held() == set()  # alone it may use all of it
    begin(taken, 0, 1)
    assert held() == {0}
    begin(taken, 1, 9)
    assert held() == {0}
    begin(taken, 1, 1)
    assert held() == {0, 1}
    end(taken, 1, 1)
    assert held() == {0}
    end(taken, 0, 69)  # 31 of it and 9 of the other
    assert held() == set()


def test_flood_on_all_partitions_each_goes_on_at_its_part_of_the_low_mark() -> None:
    """Evenly loaded partitions are held together and released apart."""
    limits = environment(high_water=100, low_water=40)
    pressure, taken = back_pressure(limits), consumer(4)
    for number in range(4):
        begin(taken, number, 25)
    pressure.update(taken, draining=False, stopped=set())
    assert {tp.partition for tp in taken.held} == {0, 1, 2, 3}
    end(taken, 2, 16)
    pressure.update(taken, draining=False, stopped=set())
    assert {tp.partition for tp in taken.held} == {0, 1, 3}


def test_commit_held_back_by_a_slot_for_a_turn_s_time_its_partition_is_read_no_further() -> None:
    """What is decided behind it would all come again after a crash. Line: the bound."""
    waiting = {(0, 0), (1, 1), (2, 0)}
    pressure, taken = back_pressure(environment(turn_timeout_s=60.0), waiting=waiting), consumer(4)
    now = time.monotonic()
    for number, offset, age_s in ((0, 0, 61.0), (1, 0, 61.0), (1, 1, 61.0), (2, 0, 0.0), (3, 0, 61.0)):
        taken.cursors[TP(NAMES.messages, number)].acks.deliver(offset, now - age_s)

    def held() -> set[int]:
        pressure.update(taken, draining=False, stopped=set())
        return {tp.partition for tp in taken.held}

    assert held() == {0}  # 1: only a younger one waits; 2: not for long yet; 3: runs, and ends at its deadline
    waiting.clear()
    assert held() == set()


def test_partition_not_open_what_it_was_given_takes_nobodys_room() -> None:
    """What had been fetched waits for the barrier, however long its refold takes."""
    fold = PartitionFold(PartitionState(partition=0))
    partition = Partition(0, fold, environment(), generation=1, on_lost=lambda *_args: pytest.fail("lost"))
    for _ in range(100):
        partition.when_open(lambda: None)
    assert partition.messages_begun == 100
    assert partition.lanes_at_work == 0


def test_fetched_again_behind_what_is_handled_makes_no_room() -> None:
    """A seek may put a partition back behind what its lanes have; the others' room stays. Line: without ``max``."""
    limits = environment()
    pressure, taken = back_pressure(limits), consumer()
    room = pressure.room(taken)
    coming, behind = (taken.cursors[TP(NAMES.messages, number)] for number in (0, 1))
    coming.fetched = 3
    behind.handled = 100
    assert pressure.room(taken) == room - 3
