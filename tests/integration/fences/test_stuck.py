"""A model that hangs, politely or not, holds up its own session, for a bounded time, and nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Self

from faust.types import TP

from schemas.events import TurnCompleted, TurnFailed
from streams.agent import Agent, Agents
from streams.providers.protocol import ModelDelta, ModelRequest
from tests.support.deployment import PATIENT, Deployment, LocalWorker

Local = Callable[..., LocalWorker]

#: Others on the same partition.
OTHERS = 200

#: How a model hangs: politely, or deaf to its cancellation, outside of and in a ``finally``.
WAYS = ("polite", "stubborn", "finally")


class HangingProvider:
    """Answers at once, but hangs on texts such as ``hang stubborn``, until the test lets go of it."""

    name = "hanging"

    def __init__(self) -> None:
        #: Whoever set this lets go of the model.
        self.gate = asyncio.Event()
        #: How often it spoke after it hung.
        self.late = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self.gate.set()  # also where the test fails: nothing must outlive it

    async def warm(self) -> None:
        """Nothing."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """One delta; then the end, or none."""
        yield ModelDelta("an answer")
        what, _, how = request.user_text.partition(" ")
        if what == "hang":
            await self._hang(how)
            self.late += 1
            yield ModelDelta("too late")
        yield ModelDelta("", "stop")

    async def _hang(self, how: str) -> None:
        if how == "polite":
            await self.gate.wait()
        elif how == "finally":
            try:
                await self.gate.wait()
            finally:
                await self._stubborn()
        else:
            await self._stubborn()

    async def _stubborn(self) -> None:
        while not self.gate.is_set():
            with suppress(asyncio.CancelledError):
                await self.gate.wait()

    async def close(self) -> None:
        """Nothing."""


def _agents(provider: HangingProvider) -> Agents:
    return Agents({"a": Agent(name="a", model="test", provider=provider, timeouts=PATIENT)}, default="a")


def _pass_deadlines(worker: LocalWorker, turn_ids: set[str]) -> None:
    """Have the time of these turns run out now."""
    for partition in worker.worker.ownership.partitions.values():
        for turn_id, turn in partition._running.items():
            if turn_id in turn_ids and turn._scope is not None:
                turn._scope.reschedule(asyncio.get_running_loop().time())


async def test_models_hang_in_three_sessions_others_go_on_and_the_commit_follows(
    deployment: Deployment, local: Local
) -> None:
    """Three of 203 sessions of a partition hang: the others are answered, then those run out of time, then all is done.

    Two of them are deaf to their cancellation: fails with ``BARNABAS_TEST_OFF=abandon`` (their lanes hang for ever).
    """
    with HangingProvider() as provider:
        async with local(agents=_agents(provider)) as worker:
            calls = worker.worker.env.calls
            for how in WAYS:
                deployment.publish(deployment.session_on(1, how), f"hang {how}")
            for how in WAYS:
                deployment.publish(deployment.session_on(1, how), "behind it")
            for number in range(OTHERS):
                deployment.publish(deployment.session_on(1, f"s{number}"), f"fast {number}")
            deployment.flush()
            hung = {message.turn_id for message in deployment.published[:3]}
            behind = {message.turn_id for message in deployment.published[3:6]}
            await worker.until(lambda: len(deployment.log().outcomes) == OTHERS, "all others are answered")
            assert not (hung | behind) & deployment.log().outcomes.keys()
            cursor = worker.worker.ownership.consumer.cursors[TP(deployment.names.messages, 1)]
            assert cursor.acks.oldest_since is not None  # what the metric and the watchdog look at
            await worker.until(lambda: cursor.acks.pending == 6, "the others are acknowledged")
            assert cursor.acks.watermark == deployment.published[0].offset
            _pass_deadlines(worker, hung)
            await worker.until_answered()
            await worker.until_committed()
            assert cursor.acks.oldest_since is None
            assert (calls.abandoned, calls.left) == (2, 2)
            written = len(deployment.tokens())
            provider.gate.set()
            await worker.until(lambda: calls.left == 0, "the calls that were left behind end")
            assert len(deployment.tokens()) == written
    outcomes = {turn: accepted.event for turn, accepted in deployment.log().outcomes.items()}
    assert {outcomes[turn].cause for turn in hung if isinstance(outcomes[turn], TurnFailed)} == {"turn_timeout"}
    assert {type(outcomes[turn]) for turn in behind} == {TurnCompleted}
    await asyncio.to_thread(deployment.check, with_calls=False)


async def test_partition_lost_while_a_model_ignores_it_nothing_more_is_written(
    deployment: Deployment, local: Local
) -> None:
    """The partition goes to another worker in mid-turn; the lane ends within a bound, and what comes late is unsaid.

    Fails with ``BARNABAS_TEST_OFF=late_tokens`` (the call's next delta is written), and with ``abandon``.
    """
    written = deployment.names.events, deployment.names.tokens, deployment.names.changelog
    with HangingProvider() as provider:
        async with local(agents=_agents(provider)) as worker:
            deployment.publish(deployment.session_on(1), "hang stubborn")
            deployment.flush()
            await worker.until(lambda: any(token.text for token in deployment.tokens()), "the first delta")
            ownership = worker.worker.ownership
            (lane,) = ownership.partitions[1]._lanes.values()
            still_ours = ownership.tps({0, 2, 3}) | {TP(deployment.names.changelog, number) for number in (0, 2, 3)}
            ownership.on_rebalanced(ownership.generation + 1, ownership._member_id, still_ours)
            await worker.until(lambda: lane.task is not None and lane.task.done(), "the lane ends")
            producer = worker.worker.env.publisher._producer
            await worker.until(lambda: producer.backlog == 0, "what was on its way has arrived")
            ends = await asyncio.to_thread(deployment.ends, *written)
            provider.gate.set()
            await worker.until(lambda: provider.late == 1 and not worker.worker.env.calls.left, "the call has spoken")
            assert producer.backlog == 0
            assert await asyncio.to_thread(deployment.ends, *written) == ends


async def test_model_ignores_its_end_worker_stops_all_the_same(deployment: Deployment, local: Local) -> None:
    """A call that was left behind keeps neither the worker nor its loop from ending; its message comes again.

    Fails with ``BARNABAS_TEST_OFF=abandon`` (the lane never ends), and without ``_unregister_task`` in ``Calls``.
    """
    with HangingProvider() as provider:
        async with local(agents=_agents(provider), limits={"drain_timeout_s": 0.2}) as worker:
            deployment.publish("s", "hang stubborn")
            deployment.flush()
            await worker.until(lambda: deployment.log().starts, "the turn runs")
            assert await worker.stop() == 0
            await worker.until(lambda: not _tasks_of_turns(), "whoever closes the loop has nothing to wait for")
    assert deployment.log().outcomes == {}


def _tasks_of_turns() -> list[str]:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("Lane.", "Steps."))]
