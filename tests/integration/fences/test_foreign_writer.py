"""S2 and the epochs: records of a foreign writer, forged, in the changelog and in the log."""

import asyncio
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events import PartitionOpened, TurnCompleted
from schemas.ids import event_id_for, turn_id_for
from schemas.serdes import Codec
from state.value import ValueCodec
from streams.agent import Agent, Agents
from streams.consumer import SessionConsumer
from streams.partition import Phase
from streams.pressure import BackPressure
from tests.support.deployment import PATIENT, SCRIPT, Deployment, LocalWorker
from tests.support.gated_provider import GatedProvider

Local = Callable[..., LocalWorker]


async def _say(worker: LocalWorker, session: str, text: str) -> None:
    """Publish a message and wait until it is answered and everything is acknowledged."""
    worker.deployment.publish(session, text)
    worker.deployment.flush()
    await worker.until_answered()
    await worker.until_committed()


def _old_value(deployment: Deployment, session: str) -> bytes:
    """The session's changelog value after its first turn."""
    codec = ValueCodec(Codec())
    for record in deployment.reader(deployment.names.changelog).read_to_end():
        if record.key == session.encode() and record.value and codec.decode_session(record.value).turns == 1:
            return record.value
    raise AssertionError("no value with one turn")


def _last_turns(deployment: Deployment, session: str) -> int:
    """How many turns the changelog's last record of the session holds: all that compaction would leave."""
    reader = deployment.reader(deployment.names.changelog)
    reader.poll(0.0)
    last = [record.value for record in reader.records if record.key == session.encode() and record.value][-1]
    return ValueCodec(Codec()).decode_session(last).turns


@pytest.mark.parametrize("disk", ["same", "empty"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["worker-goes-on", "worker-ends"])
async def test_late_changelog_record_forged_session_survives_a_restart(
    deployment: Deployment,
    local: Local,
    disk: str,
    goes_on: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    """A zombie's old value lands behind the new one; the worker writes on (and sees the hole), or ends.

    Restarted, the session still remembers both exchanges. Fails with ``BARNABAS_TEST_OFF=monotonic`` (the old value
    wins) and with ``repair`` (the changelog's last record of the session, all
    that compaction would leave, stays the old one).
    """
    session, other = deployment.session_on(1, "a"), deployment.session_on(1, "b")
    async with local() as worker:
        await _say(worker, session, "fast one")
        await _say(worker, session, "fast two")
        deployment.produce(
            deployment.names.changelog, await asyncio.to_thread(_old_value, deployment, session), session.encode()
        )
        deployment.flush()
        if goes_on:
            await _say(worker, other, "fast three")
            await worker.until(lambda: _last_turns(deployment, session) == 2, "the newer value is sent again")
    if disk == "empty":
        shutil.rmtree(deployment.folder / "data")
    async with local() as worker:
        await _say(worker, other, "fast four")
        await worker.until(lambda: _last_turns(deployment, session) == 2, "the newer value is sent again")
        await _say(worker, session, "fast five")
    assert len(deployment.calls()[-1].messages) == 5
    report = await asyncio.to_thread(deployment.check)
    assert report.repeated_calls == 0


async def test_second_late_changelog_record_in_one_ownership_is_repaired_too(
    deployment: Deployment, local: Local
) -> None:
    """A zombie's records come in more than one piece: each is answered with the newer value."""
    session, other = deployment.session_on(1, "a"), deployment.session_on(1, "b")
    async with local() as worker:
        await _say(worker, session, "fast one")
        await _say(worker, session, "fast two")
        old = await asyncio.to_thread(_old_value, deployment, session)
        for text in ("fast three", "fast four"):
            deployment.produce(deployment.names.changelog, old, session.encode())
            deployment.flush()
            await _say(worker, other, text)
            await worker.until(lambda: _last_turns(deployment, session) == 2, "the newer value is sent again")


def _forge_opening(deployment: Deployment, partition: int) -> None:
    event = PartitionOpened(event_id="forged", owner="a-zombie", generation=1, occurred_at=1)
    deployment._producer.produce(deployment.names.events, Codec().encode(event), None, partition)
    deployment.flush()


async def test_foreign_opening_forged_under_load_partition_is_opened_again(
    deployment: Deployment, local: Local
) -> None:
    """A late ``PartitionOpened`` of somebody else ends our epoch: lanes are dropped, opened again, all is answered.

    Fails with ``BARNABAS_TEST_OFF=ack_order`` (what was in flight is committed and never comes again).
    """
    async with local() as worker:
        for number in range(60):
            deployment.publish(deployment.session_on(1, f"s{number % 20}"), f"m {number}")
            if number in {15, 30, 45}:
                deployment.flush()
                await worker.until(lambda: worker.worker.ownership.messages_begun > 0, "turns run")
                _forge_opening(deployment, 1)
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    await asyncio.to_thread(deployment.check)
    assert deployment.log().openings[1] >= 5


async def test_foreign_opening_messages_meanwhile_do_not_overtake_those_read_again(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that comes between losing and reopening is decided behind those that were in flight.

    Fails with ``BARNABAS_TEST_OFF=discard_held``: the later message is decided first, its ``decided_upto`` covers
    the earlier ones, and they are never answered.
    """
    proves, gate = SessionConsumer.proves_ownership, asyncio.Event()

    async def late(self: SessionConsumer, tp: Any) -> bool:
        await gate.wait()
        return await proves(self, tp)

    monkeypatch.setattr(SessionConsumer, "proves_ownership", late)
    session = deployment.session_on(1)
    async with local() as worker:
        deployment.publish(session, "hang one", message_id="m1")
        deployment.publish(session, "fast two")
        deployment.flush()
        partition = worker.worker.ownership.partitions[1]
        await worker.until(lambda: partition.messages_begun == 2, "a turn runs, a message waits")
        _forge_opening(deployment, 1)
        await worker.until(lambda: partition.phase is Phase.CLOSED, "the epoch is over")
        # As if it had been fetched before the epoch was over.
        monkeypatch.setattr(BackPressure, "wanted", lambda _self, consumer, _room: {*consumer.cursors})
        deployment.publish(session, "fast three")
        deployment.flush()
        await worker.until(lambda: partition.messages_begun == 1, "the third message is delivered")
        gate.set()
        deployment.control(session, type="cancel", message_id="m1")
        await worker.until_answered()
        await worker.until_committed()
    await asyncio.to_thread(deployment.check)


async def test_zombie_outcome_behind_the_new_epoch_changes_nothing(deployment: Deployment, local: Local) -> None:
    """A zombie's ``TurnCompleted`` of a lower epoch, behind our opening: the fold rejects it, the turn is ours.

    Fails with ``BARNABAS_TEST_OFF=epochs``.
    """
    session, provider = deployment.session_on(1), GatedProvider(SCRIPT, calls_path=deployment.calls_path)
    agent = Agent(name="a", model="test", provider=provider, timeouts=PATIENT)
    async with local(agents=Agents({"a": agent}, default="a")) as worker:
        _forge_opening(deployment, 1)
        await worker.until(lambda: deployment.log().openings[1] == 3 and worker.is_open, "opened again")
        deployment.publish(session, "gated one", message_id="m1")
        deployment.flush()
        await worker.until(lambda: deployment.log().starts, "the turn runs")
        turn_id = turn_id_for(session, "m1")
        (attempt,) = deployment.log().starts[turn_id]
        old = type(attempt)(0, 0)
        event = TurnCompleted(
            event_id=event_id_for(turn_id, old, "outcome"),
            session_id=session,
            turn_id=turn_id,
            message_id="m1",
            attempt=old,
            source_offset=0,
            occurred_at=1,
            decided_upto=0,
            text="the zombie's",
            deltas=1,
        )
        deployment.produce(deployment.names.events, Codec().encode(event), session.encode())
        deployment.flush()
        provider.gate.set()
        await _say(worker, session, "fast two")
    await asyncio.to_thread(deployment.check)
    assert deployment.log().outcomes[turn_id].event.text != "the zombie's"
    contents = [message.content for message in deployment.calls()[-1].messages]
    assert contents == ["gated one", "a b c d e f", "fast two"]
