"""Recovery from a real changelog; what a changelog can hold is tested without a broker in ``functional``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from infra.ports import free_port
from schemas.errors import RecoveryError
from state.changelog import ChangelogReader, ChangelogUnreadableError
from state.recovery import Recovered, Recovery
from state.repair import Repair
from state.store import SessionStore
from state.value import PARTITION_KEY, header_of
from state.write_path import OnDelivery, WritePath
from tests.functional.state.stores import VALUES, partition_value, session_value
from tests.integration.state.deployments import Deployment

OPENED = (PARTITION_KEY, partition_value(0))

QUIET = logging.getLogger("tests.librdkafka")


@pytest.fixture
async def store(deployment: Deployment) -> AsyncIterator[SessionStore]:
    """Give an empty local store."""
    made = deployment.store()
    yield made
    await made.stop()


def reader_of(deployment: Deployment) -> ChangelogReader:
    """A reader of the deployment's changelog."""
    return ChangelogReader(deployment.names.changelog, {"bootstrap.servers": deployment.servers})


async def recover(deployment: Deployment, store: SessionStore, deadline_s: float = 20) -> Recovered:
    """Recover partition 0."""
    return await Recovery(store, reader_of(deployment), deadline_s=deadline_s).run({0}, {0})


def folded_of(store: SessionStore, key: bytes = b"s1") -> int | None:
    """How far the stored value is folded."""
    raw = store.read(0, key)
    return header_of(raw).folded if raw is not None else None


async def test_recovery_from_an_empty_directory_and_then_from_its_position(
    deployment: Deployment, store: SessionStore
) -> None:
    """The second one reads only what came since. Mutant: ``ranges`` from 0: it reads all again."""
    deployment.write_changelog([OPENED, *((b"s%d" % n, session_value(f"s{n}", n)) for n in range(200))])
    first = await recover(deployment, store)
    await store.stop()
    deployment.write_changelog([(b"s1", session_value("s1", 500))])
    second = await recover(deployment, store)

    assert (first.records, second.records) == (201, 1)
    assert (folded_of(store), store.position(0)) == (500, 201)


async def test_recovery_of_a_changelog_emptied_by_retention_ends_at_once(
    deployment: Deployment, store: SessionStore
) -> None:
    """F17: offsets that are gone are not waited for. Mutant: ``_PARTITION_EOF`` not taken for the end."""
    deployment.write_changelog([OPENED, (b"s1", session_value())])
    deployment.delete_before(deployment.names.changelog, 2)
    recovered = await recover(deployment, store, deadline_s=5)

    assert (recovered.records, recovered.refold, store.position(0)) == (0, {0}, 1)


async def test_recovery_over_a_hole_of_offsets_continues_behind_it(deployment: Deployment, store: SessionStore) -> None:
    """F17: a compacted beginning. The local position lies in the hole."""
    deployment.write_changelog([OPENED])
    await recover(deployment, store)
    deployment.write_changelog([(b"s1", session_value("s1", n)) for n in range(1, 6)])
    deployment.delete_before(deployment.names.changelog, 4)
    recovered = await recover(deployment, store, deadline_s=5)

    assert (recovered.records, folded_of(store), store.position(0)) == (2, 5, 5)


async def test_recovery_after_a_forged_late_record_names_its_key(deployment: Deployment, store: SessionStore) -> None:
    """S2, deterministic: a zombie's older value lies last. Mutant: ``apply`` without its comparison."""
    deployment.write_changelog([OPENED, (b"s1", session_value("s1", 9)), (b"s1", session_value("s1", 3))])
    recovered = await recover(deployment, store)

    assert (folded_of(store), recovered.stale) == (9, {0: {b"s1": 3}})


async def test_recovery_of_a_topic_that_is_not_there_ends_at_its_deadline(kafka: str, deployment: Deployment) -> None:
    """F17, F10: an error, never a hang."""
    reader = ChangelogReader("no-such-topic", {"bootstrap.servers": kafka})
    store = deployment.store("worker-2")
    with pytest.raises(RecoveryError):
        await asyncio.to_thread(lambda: [*reader.read({0: (0, 5)}, deadline_s=0.3)])
    await store.stop()


async def test_repair_of_a_hole_sends_the_touched_keys_again(deployment: Deployment, store: SessionStore) -> None:
    """S2: the owner meets a foreign record between its own and writes its newer value behind it.

    Mutant: ``Repair.hole_found`` does nothing: the zombie's record stays the key's last.
    """
    deployment.write_changelog([OPENED, (b"s1", session_value("s1", 9))])
    await recover(deployment, store)
    deployment.write_changelog([(b"s1", session_value("s1", 3))])  # the zombie
    sent: list[bytes] = []

    def send(partition: int, key: bytes, value: bytes, on_delivery: OnDelivery) -> None:
        sent.append(value)
        (offset,) = deployment.write_changelog([(key, value)])
        asyncio.get_running_loop().call_soon(on_delivery, None, offset)

    repair = Repair(reader_of(deployment))
    path = WritePath(store, VALUES, send, on_foreign_record=repair.hole_found, on_store_failure=pytest.fail)
    repair.attach(path)
    path.open_partition(0)
    path.put(0, b"s2", VALUES.decode_session(session_value("s2", 10)), lambda: None, urgent=True)
    path.flush(0)
    async with asyncio.timeout(10):
        while len(sent) < 2:  # noqa: ASYNC110 -- what is awaited has no event
            await asyncio.sleep(0.005)

    assert sent[1] == session_value("s1", 9)
    assert (await recover(deployment, deployment.store("worker-3"))).stale == {0: {}}


async def test_recovery_without_a_broker_says_so_and_keeps_the_store(deployment: Deployment) -> None:
    """An outage is no fault of the local store, whose content a wipe would have recovered for nothing.

    Mutant: a plain ``RecoveryError`` in ``highwaters`` or ``read``: the store is wiped.
    """
    away = ChangelogReader("t.changelog", {"bootstrap.servers": f"127.0.0.1:{free_port()}", "logger": QUIET})
    store = deployment.store("worker-2")
    store.own({0})
    store.write(0, dict([OPENED]), 0)
    with pytest.raises(ChangelogUnreadableError):
        await Recovery(store, away, deadline_s=0.3).run({0}, {0})
    with pytest.raises(ChangelogUnreadableError):
        await asyncio.to_thread(lambda: [*away.read({0: (0, 5)}, deadline_s=1.0)])

    assert store.read(0, PARTITION_KEY) is not None
    await store.stop()
