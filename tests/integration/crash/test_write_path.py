"""A kill around the RocksDB write; a restart on the same disk, then on an empty one."""

import shutil

import pytest

from tests.support.deployment import Deployment
from tests.support.faults import Faults

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    "faults",
    [Faults(kill_before_store_write=3), Faults(kill_after_store_write=3)],
    ids=["before-rocksdb", "after-rocksdb"],
)
def test_kill_between_changelog_and_rocksdb_table_is_rebuilt_from_either(
    deployment: Deployment, faults: Faults
) -> None:
    """The broker has the changelog record, RocksDB has it not (or just got it), nothing is acknowledged (T1).

    Restarted on the same disk, where nothing new is said that could mend it, and then on an empty one. Fails with
    ``BARNABAS_TEST_OFF=store_first`` (RocksDB is ahead: the changelog never gets the value).
    """
    first = deployment.start("w1", faults=faults)
    first.wait_ready()
    for number in range(40):
        deployment.publish(f"s{number}", f"m {number}")
    deployment.flush()
    deployment.died(first)
    same_disk = deployment.start("w1")
    deployment.wait_answered()
    deployment.wait_committed()
    assert same_disk.stop() == 0
    deployment.check()
    shutil.rmtree(deployment.folder / "data")
    empty_disk = deployment.start("w1")
    for number in range(40):
        deployment.publish(f"s{number}", f"again {number}")
    deployment.flush()
    deployment.wait_answered()
    deployment.wait_committed()
    assert empty_disk.stop() == 0
    deployment.check()
    prompts = {call.messages[-1].content: len(call.messages) for call in deployment.calls()}
    assert [prompts[f"again {number}"] for number in range(40)] == [3] * 40  # one exchange, and the message
