"""F12, B2, F14, R1, R2: what a worker keeps over a rebalance, what it lets go, and when it stops writing."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from faust.types import TP

from schemas.errors import AssignmentError
from streams.lease import boottime
from streams.ownership import Ownership
from streams.partition import Phase
from streams.providers.scripted import Behaviour, Script
from tests.support.deployment import SCRIPT, Deployment, LocalWorker

Local = Callable[..., LocalWorker]


async def test_second_worker_joins_kept_turns_run_on_lost_ones_are_cancelled(
    deployment: Deployment, local: Local
) -> None:
    """Turns that hang on four partitions; a second worker takes two of them over, and answers them.

    The kept ones are not repeated (fails with ``BARNABAS_TEST_OFF=keep``); the lost ones are cancelled here at once
    (fails with ``cancel_of_lost``) and begun again there, with one attempt more.
    """
    async with local("w1") as first:
        for partition in range(deployment.partitions):
            deployment.publish(deployment.session_on(partition), "hang one", message_id="m1")
            deployment.publish(deployment.session_on(partition), "fast two")
        deployment.flush()
        await first.until(lambda: len(deployment.log().starts) == 4, "four turns run")
        before = dict(first.worker.ownership.partitions)
        epochs = {number: partition.epoch for number, partition in before.items()}
        lanes = [lane for partition in before.values() for lane in partition._lanes.values()]
        deployment.start("w2", script=Script(replies={"hang *": Behaviour(reply="{user}!")}, default=SCRIPT.default))
        await first.until(lambda: len(first.worker.ownership.partitions) == 2, "two partitions are lost")
        kept = first.worker.ownership.partitions
        assert all(kept[number] is before[number] and kept[number].epoch == epochs[number] for number in kept)
        await first.until(lambda: sum(lane.task.done() for lane in lanes) == 2, "the lost lanes are cancelled")
        assert first.worker.env.write_path._overlays.keys() == set(kept)
        cursors, store = first.worker.ownership.consumer.cursors, first.worker.store
        await first.until(lambda: first.worker.ownership.is_settled, "what is kept is settled")
        assert {tp.partition for tp in cursors} == set(kept)
        assert store.partitions == store.opened() == set(kept)
        for partition in kept:
            deployment.control(deployment.session_on(partition), type="cancel", message_id="m1")
        await first.until_answered()
        await first.until_committed()
        kept_turns = {m.turn_id for m in deployment.published if m.partition in kept}
    assert await asyncio.to_thread(deployment.processes[0].stop) == 0
    report = await asyncio.to_thread(deployment.check)
    assert report.cut_off == 2
    calls = Counter(call.turn_id for call in deployment.calls())
    assert all(calls[turn] == 1 for turn in kept_turns)


async def test_topics_of_a_partition_on_different_workers_worker_ends(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An assignment that is not co-partitioned ends the worker with an error (R1); aiokafka would swallow it.

    Fails with ``BARNABAS_TEST_OFF=copartition``.
    """
    on_rebalanced = Ownership.on_rebalanced

    def torn(self: Ownership, generation: int, member_id: str, assigned: set[TP]) -> None:
        on_rebalanced(self, generation, member_id, assigned - {TP(deployment.names.events, 1)})

    monkeypatch.setattr(Ownership, "on_rebalanced", torn)
    worker = local()
    worker._task = asyncio.create_task(worker.worker.run())
    result = await worker.ended()
    assert isinstance(result, AssignmentError)
    assert "events" in str(result)


async def test_lease_is_over_nothing_is_written_then_opened_again(deployment: Deployment, local: Local) -> None:
    """The clock jumps and no heartbeat is noted: not one record more, on any topic; then the worker goes on (R2).

    The models speak on all the while, ten times a second.
    Fails with ``BARNABAS_TEST_OFF=lease``.
    """
    async with local() as worker:
        for partition in range(deployment.partitions):
            deployment.publish(deployment.session_on(partition), "endless one", message_id="m1")
        deployment.flush()
        await worker.until(lambda: len(deployment.log().starts) == 4, "four turns run")
        lease, names = worker.worker.env.lease, deployment.names
        renew = lease.renew
        lease.renew = lambda _sent_at: None  # type: ignore[method-assign]
        lease._clock = lambda: boottime() + 100.0
        partitions = worker.worker.ownership.partitions.values()
        await worker.until(lambda: all(p.phase is Phase.CLOSED for p in partitions), "all epochs are over")
        written = names.events, names.tokens, names.changelog
        ends = await asyncio.to_thread(_settled_ends, deployment, written)
        until = time.monotonic() + 1.0
        await worker.until(lambda: time.monotonic() > until, "a second without a lease")
        assert await asyncio.to_thread(deployment.ends, *written) == ends
        lease.renew = renew  # type: ignore[method-assign]
        await worker.until(lambda: worker.is_open, "opened again after the next heartbeat")
        attempts = deployment.log().starts
        await worker.until(
            lambda: deployment.log() and all(len(made) == 2 for made in attempts.values()), "the turns run again"
        )
        for partition in range(deployment.partitions):
            deployment.control(deployment.session_on(partition), type="cancel", message_id="m1")
        await worker.until_answered()
        await worker.until_committed()
    report = await asyncio.to_thread(deployment.check)
    assert report.cut_off == 4


def _settled_ends(deployment: Deployment, topics: tuple[str, ...]) -> dict[Any, int]:
    """What was in the network when the lease ended may still arrive: the ends once they are the same twice."""
    ends = deployment.ends(*topics)
    while (again := deployment.ends(*topics)) != ends:
        ends = again
    return ends


def test_worker_listens_on_loopback_alone_and_runs_without_cython(deployment: Deployment) -> None:
    """Nothing of Faust's listens (F22), and pure-Python streams keep every promise, too (S4).

    Fails with ``BARNABAS_TEST_OFF=web``.
    """
    worker = deployment.start("w1", env={"NO_CYTHON": "1"})
    ready = worker.wait_ready()
    assert ready["is_cython"] is False
    for number in range(100):
        deployment.publish(f"s{number % 20}", f"fast {number}")
    deployment.flush()
    deployment.wait_answered()
    listening = [c for c in psutil.Process(worker.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"] * 2  # monitoring, and the read interface
    assert 6066 not in {c.laddr.port for c in listening}
    deployment.wait_committed()
    assert worker.stop() == 0
    report = deployment.check()
    assert report.repeated_calls == 0
