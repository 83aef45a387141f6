"""Lanes, slots and token stream, without a broker."""

import asyncio
from typing import Any

import pytest

from schemas.attempt import Attempt
from schemas.commands import UserMessage
from schemas.errors import DeliveryUnknownError
from schemas.tokens import Token, TokenKind
from streams.agent import Agent
from streams.incoming import Incoming
from streams.lane import Lane
from streams.pool import TurnPool
from streams.providers.echo import EchoProvider
from streams.token_stream import TokenStream
from tests.support.waiting import eventually


def incoming(number: int = 0) -> Incoming:
    """A message of session ``s``."""
    return Incoming(
        key=b"s",
        session_id="s",
        message_id=f"m{number}",
        turn_id=f"t{number}",
        offset=number,
        command=UserMessage(text="hello"),
        agent="a",
        traceparent=None,
        acknowledge=lambda: None,
    )


# -- Lane


async def test_lane_messages_are_decided_one_at_a_time_in_order() -> None:
    """Never two at once; gone when empty."""
    running, most, done, empty = 0, 0, [], asyncio.Event()

    async def decide(message: Incoming) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done.append(message.offset)

    lane = Lane(decide, empty.set)
    for number in range(5):
        lane.offer(incoming(number))
    await asyncio.wait_for(empty.wait(), 60)
    assert done == [0, 1, 2, 3, 4]
    assert most == 1


async def test_lane_withdrawn_message_is_not_decided() -> None:
    """It is decided elsewhere, ahead of its turn."""
    done, empty, gate = [], asyncio.Event(), asyncio.Event()

    async def decide(message: Incoming) -> None:
        await gate.wait()
        done.append(message.offset)

    lane = Lane(decide, empty.set)
    messages = [incoming(number) for number in range(3)]
    for message in messages:
        lane.offer(message)
    await asyncio.sleep(0)
    assert lane.head is messages[0]
    lane.withdraw(messages[1])
    gate.set()
    await asyncio.wait_for(empty.wait(), 60)
    assert done == [0, 2]


# -- TurnPool


def agent(name: str, slots: int) -> Agent:
    """An agent with so many slots."""
    return Agent(name=name, model="echo", provider=EchoProvider(), max_concurrent_turns=slots)


async def test_pool_agent_full_waits_another_agent_does_not() -> None:
    """An agent's share is its own; whoever waits for it keeps no other agent's turns from being admitted."""
    pool = TurnPool(max_turns=10)
    one, two = agent("one", 1), agent("two", 1)

    async def take() -> None:
        async with pool.slot(one):
            pass

    async with pool.slot(one):
        waiter = asyncio.create_task(take())
        await asyncio.sleep(0)
        assert pool.waiting_for_agent == 1
        async with pool.slot(two):
            assert not pool.slot(two).is_free
        assert not waiter.done()
    await asyncio.wait_for(waiter, 60)
    assert pool.waiting_for_agent == 0
    assert pool.slot(one).is_free


async def test_pool_progress_moves_while_others_are_let_in() -> None:
    """By the agent's own share, and by the worker's slots while its holders wait for those."""
    pool = TurnPool(max_turns=1)
    one, two = agent("one", 1), agent("two", 5)
    gates = [asyncio.Event() for _ in range(3)]

    async def hold(who: Agent, gate: asyncio.Event) -> None:
        async with pool.slot(who):
            await gate.wait()

    other = asyncio.create_task(hold(two, gates[0]))
    await asyncio.sleep(0)
    holder = asyncio.create_task(hold(one, gates[1]))  # has its agent's share, waits for the worker's slot
    await asyncio.sleep(0)
    slot = pool.slot(one)
    waits = asyncio.create_task(slot.__aenter__())
    await asyncio.sleep(0)
    seen = [slot.progress]
    for gate, ended in zip(gates, (other, holder), strict=False):
        assert not waits.done()
        gate.set()
        await ended
        await asyncio.sleep(0)
        seen.append(slot.progress)
    await asyncio.wait_for(waits, 60)
    assert len(set(seen)) == 3
    await slot.__aexit__()
    assert pool.slot(one).is_free


async def test_pool_waiter_cancelled_leaks_no_slot() -> None:
    """A turn that is cancelled or abandoned while it waits, for its agent's share or the worker's slots."""
    pool = TurnPool(max_turns=1)
    one, two = agent("one", 1), agent("two", 1)

    async def take(who: Agent) -> None:
        async with pool.slot(who):
            pass

    async with pool.slot(one):
        waiters = [asyncio.create_task(take(who)) for who in (one, two)]
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
    for who in (one, two):
        await asyncio.wait_for(take(who), 60)
        assert pool.slot(who).is_free


# -- TokenStream


class RecordingPublisher:
    """Keeps what is sent; the test confirms it."""

    gather_s = 0.0
    backlog = 0

    def __init__(self) -> None:
        self.sent: list[tuple[Token, Any]] = []

    def token(self, _partition: int, _key: bytes, token: Token, on_delivery: Any, _traceparent: str | None) -> None:
        """Keep a token."""
        self.sent.append((token, on_delivery))

    @property
    def texts(self) -> list[str | None]:
        """The deltas' texts."""
        return [token.text for token, _ in self.sent if token.kind is TokenKind.DELTA]

    def confirm(self, error: DeliveryUnknownError | None = None) -> None:
        """Report every delivery."""
        for _, on_delivery in self.sent:
            on_delivery(error, 1)


def stream_of(publisher: RecordingPublisher) -> TokenStream:
    """A turn's stream."""
    return TokenStream(publisher, 0, incoming(), Attempt(7, 0))  # type: ignore[arg-type]


async def test_stream_first_delta_at_once_later_ones_coalesced() -> None:
    """One record for the first delta, before anything is awaited; one for what comes within the next moment."""
    publisher = RecordingPublisher()
    stream = stream_of(publisher)
    stream.start(superseded=False)
    stream.delta("a")
    assert publisher.texts == ["a"]
    for text in "bcd":
        stream.delta(text)
    assert publisher.texts == ["a"]
    await eventually(lambda: len(publisher.texts) >= 2)
    stream.delta("e")
    stream.flush()
    assert publisher.texts == ["a", "bcd", "e"]
    assert [token.index for token, _ in publisher.sent] == [0, 1, 2, 3]
    assert stream.deltas == 3
    assert stream.text == "abcde"


async def test_stream_pause_between_deltas_the_next_goes_at_once() -> None:
    """A slow model's tokens do not wait for company."""
    publisher = RecordingPublisher()
    stream = stream_of(publisher)
    stream.delta("a")
    await eventually(lambda: stream._timer is None)
    stream.delta("b")
    assert publisher.texts == ["a", "b"]
    stream.flush()


async def test_stream_superseded_is_the_first_record_of_a_later_attempt() -> None:
    """Readers forget the earlier one; the empty delta is no record."""
    publisher = RecordingPublisher()
    stream = stream_of(publisher)
    stream.start(superseded=True)
    stream.delta("")
    assert [token.kind for token, _ in publisher.sent] == [TokenKind.SUPERSEDED]


async def test_stream_confirmed_waits_for_every_record() -> None:
    """The outcome is written only then; an unknown delivery is raised."""
    publisher = RecordingPublisher()
    stream = stream_of(publisher)
    stream.start(superseded=False)
    stream.delta("a")
    waiting = asyncio.create_task(stream.confirmed())
    await asyncio.sleep(0)
    assert not waiting.done()
    publisher.confirm()
    await asyncio.wait_for(waiting, 60)
    stream.flush()
    stream.delta("b")
    publisher.sent[-1][1](DeliveryUnknownError("timed out"), -1)
    with pytest.raises(DeliveryUnknownError):
        await stream.confirmed()
    stream.flush()


async def test_stream_abandoned_sends_nothing_more() -> None:
    """What waited to be coalesced is dropped: the next owner begins a new attempt."""
    publisher = RecordingPublisher()
    stream = stream_of(publisher)
    stream.delta("a")
    stream.delta("b")
    stream.abandon()
    stream.delta("said by a call that was left behind")
    assert publisher.texts == ["a"]
    assert stream._timer is None


@pytest.mark.parametrize(("backlog", "wait_s"), [(0, 0.005), (5_000, 0.005), (27_500, 0.5), (2_000_000, 1.0)])
async def test_tokens_outage_later_deltas_wait_the_longer_the_more_is_unconfirmed(backlog: int, wait_s: float) -> None:
    """Else a thousand turns pile up 40,000 records a second until the first of them times out."""
    publisher = RecordingPublisher()
    publisher.backlog = backlog
    stream = TokenStream(publisher, 0, incoming(), Attempt(1, 0))  # type: ignore[arg-type]
    assert stream._coalesce_s() == pytest.approx(wait_s)
