"""What aiokafka's own coordinator makes of the lease and of commits; its broker is a script."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.errors import CommitFailedError, KafkaConnectionError, RebalanceInProgressError, UnknownMemberIdError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from aiokafka.structs import OffsetAndMetadata

from streams.lease import Lease
from streams.membership import Membership
from tests.support.clock import Clock

PLACE = TopicPartition("messages", 0)


class Broker:
    """Answers each request as the test says, and takes all if it says nothing."""

    def __init__(self) -> None:
        self.asked: list[type[Any]] = []
        #: The error code of the next answer, or what happens while it is on its way.
        self.next: dict[type[Any], int | Callable[[], Awaitable[None]]] = {}

    async def send(self, _node: int, request: Any, *, group: object) -> Any:
        """Answer."""
        kind = type(request)
        self.asked.append(kind)
        answer = self.next.pop(kind, 0)
        code = answer if isinstance(answer, int) else 0
        if not isinstance(answer, int):
            await answer()
        if kind is OffsetCommitRequest:
            return SimpleNamespace(topics=[(PLACE.topic, [(PLACE.partition, code)])])
        return SimpleNamespace(
            error_code=code,
            member_id="m",
            generation_id=6,
            leader_id="another",
            group_protocol="p",
            member_assignment=b"assigned",
        )


class Member:
    """A member of generation 5 that sent a good heartbeat a moment ago."""

    def __init__(self) -> None:
        self.clock, self.broker = Clock(), Broker()
        self.lease = Lease(6.0, 20.0, clock=self.clock)
        self.assigned = 5
        self.assignment = SimpleNamespace(active=True)
        coordinator: Any = GroupCoordinator.__new__(GroupCoordinator)
        coordinator.__dict__ |= {
            "_client": self.broker,
            "_group_instance_id": None,
            "_rebalance_timeout_ms": 20_000,
            "_rejoin_needed_fut": asyncio.get_running_loop().create_future(),
            "_commit_lock": asyncio.Lock(),
            "_retry_backoff_ms": 1,
            "_coordinator_dead_fut": asyncio.get_running_loop().create_future(),
            "coordinator_id": 1,
            "group_id": "g",
            "generation": 5,
            "member_id": "m",
        }
        self.coordinator = coordinator
        self.membership = Membership(coordinator, self.lease, lambda: self.assigned)
        self.lease.renew(self.lease.now())

    async def join(self) -> Any:
        """Ask to join, as aiokafka does."""
        subscription = SimpleNamespace(topics=set(), active=True)
        assignor = SimpleNamespace(name="p", metadata=lambda _topics: b"")
        rebalance = CoordinatorGroupRebalance(self.coordinator, "g", 1, subscription, [assignor], 6000, 1)
        return await rebalance.perform_group_join()

    async def commit(self) -> None:
        """Commit, as aiokafka does."""
        await self.coordinator.commit_offsets(self.assignment, {PLACE: OffsetAndMetadata(7, "")})


@pytest.fixture
async def member() -> Member:
    """Give one."""
    return Member()


async def test_heartbeat_counts_from_when_it_was_sent(member: Member) -> None:
    """The answer may have waited for a process that was frozen."""

    async def frozen() -> None:
        member.clock.now += 7.0

    member.broker.next[HeartbeatRequest] = frozen
    assert await member.coordinator._do_heartbeat()
    assert member.lease.is_over
    assert await member.coordinator._do_heartbeat()
    assert not member.lease.is_over


@pytest.mark.parametrize("refused", ["commit", "heartbeat", "join", "sync"])
async def test_expelled_the_lease_is_over_at_once(member: Member, refused: str) -> None:
    """Whichever request the coordinator answers so; also where it had been waiting for us. Line: ``lease.end``."""
    kinds = {
        "commit": OffsetCommitRequest,
        "heartbeat": HeartbeatRequest,
        "join": JoinGroupRequest,
        "sync": SyncGroupRequest,
    }
    member.broker.next[kinds[refused]] = UnknownMemberIdError.errno
    if refused == "commit":
        with pytest.raises(CommitFailedError):
            await member.commit()
    else:
        await (member.coordinator._do_heartbeat() if refused == "heartbeat" else member.join())
    assert member.lease.is_over
    assert await member.join() is not None
    assert member.lease.is_over  # until the event loop knows what is left


async def test_expelled_nothing_is_committed(member: Member) -> None:
    """Without member and generation Kafka takes a commit for a lone consumer's, while the group is empty.

    Line: ``_commit`` without ``_is_assigned``.
    """
    await member.commit()
    member.coordinator.reset_generation()
    with pytest.raises(CommitFailedError):
        await member.commit()
    assert member.broker.asked == [OffsetCommitRequest]


async def test_generation_the_event_loop_has_not_heard_of_nothing_is_committed(member: Member) -> None:
    """A commit is to prove that nobody else owned the partition meanwhile. Line: without ``== self._assigned()``."""
    assert await member.join() is not None
    with pytest.raises(CommitFailedError):
        await member.commit()
    assert OffsetCommitRequest not in member.broker.asked
    member.assigned = 6
    await member.commit()


async def test_commit_of_an_earlier_assignment_is_not_made(member: Member) -> None:
    """It waited for a broker while another owner went on. Line: without ``assignment.active``."""
    member.assignment.active = False
    with pytest.raises(CommitFailedError):
        await member.commit()
    assert member.broker.asked == []


async def test_commit_behind_a_request_to_join_is_not_made(member: Member) -> None:
    """It would be answered when its generation is over, and aiokafka would give the membership up for that.

    Line: without ``_is_joining``.
    """

    async def waits() -> None:
        with pytest.raises(CommitFailedError):
            await member.commit()

    member.broker.next[JoinGroupRequest] = waits
    assert await member.join() is not None
    assert member.broker.asked == [JoinGroupRequest, SyncGroupRequest]
    assert not member.lease.is_over


async def test_slow_rebalance_keeps_the_lease(member: Member) -> None:
    """The coordinator waits for the slowest member; one more asks to join before all have what they get."""

    async def waits() -> None:
        member.clock.now += 15.0
        assert not member.lease.is_over

    for _ in range(3):
        member.broker.next = {JoinGroupRequest: waits, SyncGroupRequest: RebalanceInProgressError.errno}
        assert await member.join() is None
        assert not member.lease.is_over
    assert await member.join() is not None
    assert not member.lease.is_over


async def test_request_to_join_that_is_not_answered_leaves_the_last_heartbeat(member: Member) -> None:
    """The coordinator may not have heard it. Line: without ``self._lease.joining = False``."""

    async def lost() -> None:
        member.clock.now += 7.0
        raise KafkaConnectionError

    member.broker.next[JoinGroupRequest] = lost
    assert await member.join() is None
    assert member.lease.is_over


async def test_assignment_counts_from_when_it_was_asked_for(member: Member) -> None:
    """Frozen behind the coordinator's answer, a worker has no fresh session time-out. Line: ``synced_at`` behind it."""
    asked_at = member.clock.now + 15.0

    async def waits() -> None:
        member.clock.now += 15.0

    async def frozen() -> None:
        member.clock.now += 30.0

    member.broker.next = {JoinGroupRequest: waits, SyncGroupRequest: frozen}
    assert await member.join() is not None
    assert member.membership.synced_at == asked_at
