"""Who owns what is asked of the group when it is missing or wrong, once for all, and not too often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException

from barnabas.gateway.owners import DOWN_S, PAUSE_S, Owners
from topics.members import Member, member_client_id, member_of

ADA, BOB = Member("ada", "http://127.0.0.1:1"), Member("bob", "http://127.0.0.1:2")


class Group:
    """A consumer group that settles as the test says, and a clock."""

    def __init__(self) -> None:
        self.owners: Mapping[int, Member] | None = {0: ADA, 1: BOB}
        self.asked = 0
        self.now = 100.0
        self.error: KafkaException | None = None

    def ask(self) -> Mapping[int, Member] | None:
        """As ``ask_group``'s."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.owners


@pytest.fixture
def group() -> Group:
    """Give the group."""
    return Group()


@pytest.fixture
def owners(group: Group) -> Owners:
    """Give the owners that ask it."""
    return Owners(group.ask, clock=lambda: group.now)


async def test_owner_is_remembered(owners: Owners, group: Group) -> None:
    """Any number of reads, one question."""
    assert [await owners.of(number) for number in (0, 1, 0)] == [ADA, BOB, ADA]
    group.now += 1000
    assert await owners.of(0) == ADA
    assert group.asked == 1


async def test_all_who_wait_ask_once(owners: Owners, group: Group) -> None:
    """A rebalance under load is no flood of questions."""
    assert {*await asyncio.gather(*(owners.of(0) for _ in range(50)))} == {ADA}
    assert group.asked == 1


async def test_wrong_owner_is_asked_for_again(owners: Owners, group: Group) -> None:
    """The worker says that it is not the owner; its other partitions stay known."""
    await owners.of(0)
    group.owners, group.now = {0: BOB, 1: BOB}, group.now + PAUSE_S * 2
    owners.wrong(0, ADA)
    assert await owners.of(0) == BOB
    owners.wrong(0, ADA)  # late, and of the one before
    assert await owners.of(0) == BOB
    assert group.asked == 2


async def test_missing_owner_is_asked_for_after_a_pause(owners: Owners, group: Group) -> None:
    """A partition that nobody owns does not make each read ask the group."""
    group.owners = {}
    assert [await owners.of(0) for _ in range(5)] == [None] * 5
    assert group.asked == 1
    group.owners, group.now = {0: ADA}, group.now + PAUSE_S * 2
    assert await owners.of(0) == ADA


async def test_worker_that_is_down_is_left_alone_until_the_group_knows(owners: Owners, group: Group) -> None:
    """The group lists a killed worker for the session time-out: its partitions are nobody's meanwhile."""
    await owners.of(0)
    group.now += PAUSE_S * 2
    owners.down(ADA)
    assert await owners.of(0) is None
    assert await owners.of(1) == BOB
    group.owners, group.now = {0: BOB, 1: BOB}, group.now + PAUSE_S * 2
    assert await owners.of(0) is None  # known again as the dead one's, until it is asked and found wrong
    group.now += DOWN_S
    owners.down(ADA)
    group.now += PAUSE_S * 2
    assert await owners.of(0) == BOB


async def test_settling_group_leaves_what_was_known(owners: Owners, group: Group) -> None:
    """A worker that keeps its partitions over a rebalance goes on answering for them."""
    await owners.of(0)
    group.owners, group.now = None, group.now + PAUSE_S * 2
    owners.wrong(0, ADA)
    assert await owners.of(0) is None
    assert await owners.of(1) == BOB


async def test_kafka_that_does_not_answer_leaves_what_was_known(
    owners: Owners, group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers answer reads without it."""
    await owners.of(0)
    group.error, group.now = KafkaException(KafkaError(KafkaError._TRANSPORT)), group.now + PAUSE_S * 2
    owners.wrong(0, ADA)
    assert await owners.of(0) is None
    assert await owners.of(1) == BOB
    assert "not known" in caplog.text


@pytest.mark.parametrize("worker", ["worker-1", "host.example-worker-1", "a@b", "ä"])
def test_client_id_gives_worker_and_url_back(worker: str) -> None:
    """Whatever the worker is called."""
    url = "http://10.0.0.7:9465"
    assert member_of(member_client_id(worker, f"{url}/")) == Member(worker, url)


@pytest.mark.parametrize("client_id", ["faust-0.15.3", "worker-1", "", "a@ftp://b", "@http://b"])
def test_client_id_without_url_is_no_reader(client_id: str) -> None:
    """Another program's client, an older worker, or one that answers no reads."""
    assert member_of(client_id) is None
