"""A worker without a usable table folds its partitions again from the log, and goes on where it was."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from state.audit import rebuild
from state.changelog import ChangelogUnreadableError
from state.local_copy import LocalCopies
from tests.support.deployment import Deployment, LocalWorker
from tests.support.waiting import DEADLINE_S

Local = Callable[..., LocalWorker]


def lose_changelog(deployment: Deployment) -> int:
    """Delete every record of the changelog, as a wrong retention does; returns how many offsets are gone."""
    admin, topic = AdminClient({"bootstrap.servers": deployment.bootstrap_servers}), deployment.names.changelog

    def set_policy(policy: str) -> None:
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(20)

    ends = {partition: end for (_, partition), end in deployment.ends(topic).items() if end}
    set_policy("delete")  # a compacted topic's records cannot be deleted
    wanted = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            for future in admin.delete_records(wanted).values():
                future.result(20)
            break
        except KafkaException as error:  # the policy takes a moment to reach the log
            if error.args[0].code() != KafkaError.POLICY_VIOLATION or time.monotonic() > deadline:
                raise
    set_policy("compact")
    return sum(ends.values())


@pytest.mark.parametrize("is_data_lost", [True, False], ids=["data-lost", "data-kept"])
async def test_refold_after_the_changelog_was_lost_sessions_go_on(
    deployment: Deployment, local: Local, caplog: pytest.LogCaptureFixture, *, is_data_lost: bool
) -> None:
    """Everything committed, changelog and RocksDB gone: the log alone brings the sessions back.

    Where RocksDB was kept the table is still whole and nothing has to be folded again. Mutant: ``Ownership._refold``
    does nothing: the second turn's prompt has no memory.
    """
    sessions = [deployment.session_on(partition, f"s{n}") for partition in range(4) for n in range(2)]
    async with local() as worker:
        for session in sessions:
            deployment.publish(session, f"fast one of {session}")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    assert await asyncio.to_thread(lose_changelog, deployment) > len(sessions)
    if is_data_lost:
        shutil.rmtree(deployment.folder / "data")
    first_calls = len(deployment.calls())
    with caplog.at_level(logging.WARNING, logger="streams.ownership"):
        async with local() as worker:
            for session in sessions:
                deployment.publish(session, "fast two")
            deployment.flush()
            await worker.until_answered()
            await worker.until_committed()
    prompts = {call.session_id: call.messages for call in deployment.calls()[first_calls:]}
    assert prompts.keys() == set(sessions)
    for session in sessions:
        said = [(message.role, message.content) for message in prompts[session]]
        one = f"fast one of {session}"
        assert said == [("user", one), ("assistant", f"{one}!"), ("user", "fast two")], session
    assert any("folded again" in record.message for record in caplog.records) is is_data_lost
    if is_data_lost:  # a value that RocksDB still has is written with its session's next event, not before
        report = await asyncio.to_thread(deployment.check)
        assert report.repeated_calls == 0


async def test_changelog_lost_and_table_kept_doctor_rebuilds_beside_the_running_worker(
    deployment: Deployment, local: Local, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker says that the changelog lost its records; a rebuild writes back what no new event would.

    It writes beside the owner, as a zombie would: what is older than the owner's values is repaired by the owner.
    Mutant: ``ranges`` without its warning; ``_Rebuild._restore`` does nothing: the quiet sessions stay missing.
    """
    sessions = [deployment.session_on(partition, f"s{n}") for partition in range(4) for n in range(3)]
    async with local() as worker:
        for session in sessions:
            deployment.publish(session, f"fast one of {session}")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    await asyncio.to_thread(lose_changelog, deployment)
    with caplog.at_level(logging.WARNING, logger="state.local_copy"):
        async with local() as worker:
            for number in range(60):
                deployment.publish(sessions[number % 4 * 3], f"m {number}")
            deployment.flush()
            report = await asyncio.to_thread(rebuild, deployment.bootstrap_servers, deployment.names)
            await worker.until_answered()
            await worker.until_committed()
    assert sum("lost its records" in record.getMessage() for record in caplog.records) == deployment.partitions
    assert report.is_complete
    assert report.written >= 8  # the sessions to which nothing new is said
    checked = await asyncio.to_thread(deployment.check)
    assert checked.repeated_calls == 0


async def test_broker_away_while_a_rebalance_is_settled_is_waited_for(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker asks again, with pauses, instead of ending. Mutant: ``_is_outage`` says no."""
    ranges, errors = LocalCopies._ranges, [ChangelogUnreadableError("no broker"), KafkaTimeoutError("no broker")]

    def failing(self: LocalCopies, *args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return ranges(self, *args, **kwargs)

    monkeypatch.setattr(LocalCopies, "_ranges", failing)
    with caplog.at_level(logging.WARNING, logger="streams.rebalance"):
        async with local() as worker:
            deployment.publish("s1", "fast one")
            deployment.flush()
            await worker.until_answered()
    assert sum("no broker" in record.getMessage() for record in caplog.records) == 2
