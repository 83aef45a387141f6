"""``doctor --rebuild`` on a real broker: the changelog is what the log says, whatever it was before."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from schemas.errors import DeliveryUnknownError
from schemas.session import Session
from state import audit_rebuild
from state.audit import rebuild
from state.changelog import ChangelogReader
from state.fold import FOLD_VERSION
from state.recovery import Recovery
from state.value import PARTITION_KEY
from tests.functional.state.stores import of_version
from tests.integration.state.deployments import VALUES, Deployment
from tests.integration.state.test_audit import late_record, new_log, other_value, sound, tombstone


def keys_of(deployment: Deployment) -> list[bytes]:
    """The changelog's keys, in order."""
    reader = ChangelogReader(deployment.names.changelog, {"bootstrap.servers": deployment.servers})
    _, end = reader.highwaters([0])[0]
    return [record.key for _, records, _ in reader.read({0: (0, end)}, deadline_s=20) for record in records]


def test_rebuild_of_a_lost_changelog_writes_every_value_and_the_partition_s_last(deployment: Deployment) -> None:
    """Whoever dies in between leaves no partition record, so that its worker folds again by itself.

    Mutant: the partition's record written with the sessions.
    """
    log = new_log()
    deployment.write_log(log)
    deployment.commit(log.next_offset, len(log.messages))
    assert not deployment.audit().is_clean
    report = rebuild(deployment.servers, deployment.names)

    assert (report.written, report.sessions, report.is_complete) == (3, 2, True)
    assert sorted(keys_of(deployment)) == [PARTITION_KEY, b"s1", b"s2"]
    assert keys_of(deployment)[-1] == PARTITION_KEY
    assert deployment.audit().findings == ()


def test_rebuild_again_writes_nothing(deployment: Deployment) -> None:
    """Idempotent. Mutant: ``_restore`` without its comparison."""
    sound(deployment)

    assert rebuild(deployment.servers, deployment.names).written == 0


@pytest.mark.parametrize("break_it", [other_value, late_record, tombstone])
def test_rebuild_repairs_just_what_differs(deployment: Deployment, break_it: object) -> None:
    """A forged value, a late record, a tombstone: one record each, and the audit is clean."""
    log, folded = sound(deployment)
    break_it(deployment, log, folded)  # type: ignore[operator]

    assert rebuild(deployment.servers, deployment.names).written == 1
    assert deployment.audit().findings == ()


def test_rebuild_refolds_values_of_another_fold_version(deployment: Deployment) -> None:
    """An upgrade's refold, before the workers start."""
    log = new_log()
    folded = deployment.write_log(log)
    old = {key: of_version(value, FOLD_VERSION + 1) for key, value in deployment.values(folded).items()}
    deployment.write_changelog(old.items())

    assert rebuild(deployment.servers, deployment.names).written == 3
    assert deployment.audit().unverifiable == {}


def test_rebuild_of_a_value_folded_beyond_the_log_leaves_it_and_says_so(deployment: Deployment) -> None:
    """The monotonic rule would refuse ours: somebody has to decide."""
    sound(deployment)
    deployment.write_changelog([(b"s1", VALUES.encode(Session(session_id="s1", folded=999)))])
    report = rebuild(deployment.servers, deployment.names, session="s1")

    assert (report.written, report.skipped) == (0, {audit_rebuild.BEYOND_LOG: 1})


def test_rebuild_that_dies_half_way_is_harmless(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition's own record is missing until all is there; the second run completes it."""
    log = new_log()
    deployment.write_log(log)
    deployment.commit(log.next_offset, len(log.messages))
    delivered = audit_rebuild._Rebuild._delivered

    def failing(self: audit_rebuild._Rebuild, error: KafkaError | None, message: object) -> None:
        delivered(self, KafkaError(KafkaError._MSG_TIMED_OUT), message)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(audit_rebuild._Rebuild, "_delivered", failing)
        with pytest.raises(DeliveryUnknownError, match="run it again"):
            rebuild(deployment.servers, deployment.names)
    assert PARTITION_KEY not in keys_of(deployment)

    assert rebuild(deployment.servers, deployment.names).written == 1
    assert deployment.audit().findings == ()


async def test_rebuilt_changelog_recovers_into_an_empty_directory(deployment: Deployment) -> None:
    """State lost with both RocksDB and the changelog is back from the log."""
    log = new_log()
    folded = deployment.write_log(log)
    rebuild(deployment.servers, deployment.names, partitions=[0])
    store = deployment.store()
    reader = ChangelogReader(deployment.names.changelog, {"bootstrap.servers": deployment.servers})
    recovered = await Recovery(store, reader, deadline_s=20).run({0}, {0})

    assert recovered.refold == set()
    assert dict(store.items(0)) == deployment.values(folded)
    await store.stop()
