"""A new assignment, as the consumer, the owner and the recovery hear of it; neither group nor broker."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP

from schemas.attempt import Attempt
from schemas.errors import DeliveryUnknownError
from schemas.session import PartitionState
from schemas.tokens import Token, TokenKind
from state.partition_fold import PartitionFold
from streams import partition as partition_module
from streams.consumer import SessionConsumer
from streams.consumer_thread import LeasedConsumerThread
from streams.delivery import Cursor
from streams.environment import Environment
from streams.lease import Lease
from streams.ownership import Ownership
from streams.partition import Partition, Phase
from streams.rebalance import Rebalance
from tests.support.clock import Clock
from topics.names import TopicNames

NAMES = TopicNames("t")
EVERY_TOPIC = (NAMES.messages, NAMES.control, NAMES.events, NAMES.changelog)


def places(*numbers: int) -> set[TP]:
    """All topic partitions of some partitions."""
    return {TP(topic, number) for topic in EVERY_TOPIC for number in numbers}


class Member:
    """A consumer and its owner, generation 5, which owns partitions 0 and 1 by a lease that is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def assigned(_self: Any, _assigned: set[TP], _generation: int = 0) -> None:
            pass

        monkeypatch.setattr(FaustConsumer, "on_partitions_assigned", assigned)
        self.clock = Clock()
        self.lease = Lease(6.0, 20.0, clock=self.clock)
        self.lease.renew(self.lease.now())
        self.clock.now += 30.0
        env = SimpleNamespace(names=NAMES, lease=self.lease, write_path=SimpleNamespace(close_partition=self.closed))
        self.ownership = Ownership(cast("Environment", env))
        self.ownership.owned, self.ownership.generation, self.ownership._member_id = {0, 1}, 5, "m"
        for number in (0, 1):
            closed = SimpleNamespace(generation=5, phase=Phase.CLOSED, is_owned=True, close=lambda: None)
            self.ownership.partitions[number] = cast("Partition", closed)
        consumer: Any = SessionConsumer.__new__(SessionConsumer)
        consumer.app = SimpleNamespace(assignor=SimpleNamespace(standbys=lambda _changelog: ()))
        consumer.cursors = {tp: Cursor(0) for tp in self.ownership.tps((0, 1))}
        consumer.lease, consumer.generation = self.lease, 5
        consumer.wiring = SimpleNamespace(names=NAMES, ownership=self.ownership)
        consumer._thread = SimpleNamespace(member_id="m", membership=SimpleNamespace(synced_at=self.clock.now))
        self.consumer: SessionConsumer = consumer
        self.written_for: list[int] = []

    def closed(self, number: int) -> None:
        """Note what could have been written for a partition just before it was given up."""
        if not self.lease.is_over:
            self.written_for.append(number)


async def test_joined_anew_nothing_that_was_known_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker had the partitions: a commit before recovery would take its back. Line: without ``del``."""
    member = Member(monkeypatch)
    member.consumer._thread.member_id = "n"  # type: ignore[misc]
    await member.consumer.on_partitions_assigned(places(0, 1), 7)
    assert member.consumer.cursors == {}


async def test_kept_partitions_keep_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same member in the next generation knows what it has done."""
    member = Member(monkeypatch)
    before = dict(member.consumer.cursors)
    await member.consumer.on_partitions_assigned(places(1, 2), 6)
    assert member.consumer.cursors == {tp: before[tp] for tp in member.ownership.tps([1])}


async def test_woken_worker_drops_what_it_had_before_it_may_write_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its write path still holds is a zombie's. Line: ``renew`` before ``on_rebalanced``."""
    member = Member(monkeypatch)
    member.consumer._thread.member_id = "n"  # type: ignore[misc]
    await member.consumer.on_partitions_assigned(places(0, 1), 7)
    assert member.written_for == []
    assert not member.lease.is_over


async def test_frozen_behind_the_group_s_answer_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group may have expelled it again meanwhile. Line: ``renew`` at ``now()``."""
    member = Member(monkeypatch)
    member.clock.now += 7.0
    await member.consumer.on_partitions_assigned(places(0, 1), 6)
    assert member.lease.is_over


async def test_partition_paused_for_an_assignment_not_heard_of_is_fetched_again() -> None:
    """Recovery of the last generation may end while aiokafka has the next. Line: without ``resume``."""
    state = SubscriptionState()
    state.subscribe({NAMES.messages, NAMES.changelog})
    state.assign_from_subscribed({TopicPartition(topic, 0) for topic in (NAMES.messages, NAMES.changelog)})
    kafka: Any = AIOKafkaConsumer.__new__(AIOKafkaConsumer)
    kafka._subscription, kafka._closed = state, True
    thread: Any = LeasedConsumerThread.__new__(LeasedConsumerThread)
    thread._ensure_consumer = lambda: kafka
    await thread.rewind({}, [TP(NAMES.messages, 0), TP(NAMES.changelog, 0)])
    await thread.rewind({}, [TP(NAMES.changelog, 0)])
    assert kafka.paused() == {TopicPartition(NAMES.changelog, 0)}


async def test_newer_generation_while_the_fetcher_starts_is_not_settled() -> None:
    """It is not recovered. Line: the last look at the generation."""
    done: list[str] = []
    ownership = SimpleNamespace(generation=5, owned={0}, fresh={0}, env=SimpleNamespace(names=NAMES))
    ownership.open = lambda: done.append("open")

    async def nothing(*_args: object) -> bool:
        return True

    async def start() -> None:
        ownership.generation = 6

    ownership.recovered = nothing
    app = SimpleNamespace(
        barnabas=SimpleNamespace(
            ownership=ownership,
            recovery=SimpleNamespace(run=nothing),
            standbys=SimpleNamespace(release=nothing, follow=lambda _copies: done.append("follow")),
        ),
        consumer_generation_id=5,
        on_rebalance_complete=SimpleNamespace(send=nothing),
        flow_control=SimpleNamespace(resume=lambda: None),
        consumer=SimpleNamespace(resume_flow=lambda: None),
        _fetcher=SimpleNamespace(maybe_start=start),
        tables=SimpleNamespace(on_actives_ready=lambda: None, on_standbys_ready=lambda: None),
        assignor=SimpleNamespace(standbys=lambda _changelog: ()),
        on_rebalance_end=lambda: None,
    )
    rebalance = Rebalance(app)
    await rebalance._settle()
    assert done == []


@pytest.mark.parametrize("draining", [False, True])
async def test_partition_lost_while_the_worker_ends_is_left_to_the_next_owner(*, draining: bool) -> None:
    """As one that it was just given. Line: without ``draining``."""
    env = SimpleNamespace(names=NAMES, lease=SimpleNamespace(is_over=False))
    ownership = Ownership(cast("Environment", env))

    async def proves(_tp: TP) -> bool:
        return True

    cursors = {tp: Cursor(0) for tp in ownership.tps([0])}
    consumer = SimpleNamespace(cursors=cursors, proves_ownership=proves, restart_from=lambda *_args: None)
    ownership.attach(lambda: cast("SessionConsumer", consumer))
    opened: list[bool] = []
    lost = SimpleNamespace(phase=Phase.CLOSED, discard_held=lambda: None, open=lambda: opened.append(True))
    ownership.partitions[0] = partition = cast("Partition", lost)
    ownership.draining = draining
    await ownership._reclaim(0, partition)
    assert opened == [] if draining else [True]


# -- One partition


class Publisher:
    """Reports that no token's delivery is known."""

    def __init__(self) -> None:
        self.tokens = 0

    def token(self, _number: int, _key: bytes, _token: Token, delivered: Callable[..., None], _trace: object) -> None:
        """Fail."""
        self.tokens += 1
        delivered(DeliveryUnknownError("timed out"), -1)


async def _after_timers() -> None:
    """Wait until every timer is served that is due by now."""
    served = asyncio.Event()
    asyncio.get_running_loop().call_later(partition_module.RESEND_S, served.set)
    await served.wait()


def _owned(env: Any, on_lost: Callable[[int, str], None] = lambda *_args: None) -> Partition:
    env.limits = SimpleNamespace(max_early_cancels=1, turn_timeout_s=1.0)
    return Partition(0, PartitionFold(PartitionState(partition=0)), env, generation=5, on_lost=on_lost)


@pytest.mark.parametrize(("change", "sent"), [("none", 2), ("closed", 1), ("opened again", 1)])
async def test_terminal_token_is_sent_again_in_its_epoch_alone(
    monkeypatch: pytest.MonkeyPatch, change: str, sent: int
) -> None:
    """The partition may go while it waits: the message's next owner answers it. Line: ``again`` without its ``if``."""
    monkeypatch.setattr(partition_module, "RESEND_S", 0.01)
    publisher = Publisher()
    owner = _owned(SimpleNamespace(publisher=publisher))
    owner.phase, owner.epoch = Phase.OPEN, 10
    token = Token(
        session_id="s",
        turn_id="t",
        message_id="m",
        attempt=Attempt(10, 0),
        epoch=10,
        index=0,
        kind=TokenKind.COMPLETED,
        occurred_at=0,
    )
    owner.send_terminal(b"s", token, lambda: None)
    if change != "none":
        owner.close()
    if change == "opened again":
        owner.phase, owner.epoch = Phase.OPEN, 20
    await _after_timers()
    owner.close()
    assert publisher.tokens == sent


async def test_lane_of_a_partition_that_went_ends_no_later_ownership_of_it() -> None:
    """Its number may be ours again, in another epoch. Line: without ``is_owned``."""
    lost: list[int] = []
    owner = _owned(SimpleNamespace(), lambda number, _reason: lost.append(number))

    async def fails() -> None:
        raise RuntimeError

    await owner._guarded(fails())
    owner.is_owned = False
    await owner._guarded(fails())
    assert lost == [0]
