"""Rolling restart and takeover by standby replicas, on real processes."""

import re
from collections import Counter

import pytest

from state.audit_tables import local_tables
from tests.support.deployment import Deployment, Load, WorkerProcess
from topics.partitioner import partition_for

pytestmark = pytest.mark.crash

_RECOVERED = re.compile(r"recovered (\d+) partitions: (\d+) changelog records")


def recoveries(worker: WorkerProcess) -> list[tuple[int, int]]:
    """``(partitions, changelog records)`` of each of a worker's recoveries."""
    return [(int(match[1]), int(match[2])) for match in _RECOVERED.finditer(worker.log.read_text())]


def settled(deployment: Deployment, *workers: WorkerProcess) -> None:
    """Wait until these workers have answered everything so far, each with partitions of its own."""
    for worker in workers:
        worker.wait_ready()
    openings = {worker.spec.name for worker in workers}
    deployment.wait(lambda: set(deployment.log().owners.values()) == openings, "each worker owns partitions")


def owned_by(deployment: Deployment, worker: WorkerProcess) -> list[int]:
    """The partitions whose last opening is this worker's."""
    return [number for number, name in deployment.log().owners.items() if name == worker.spec.name]


def is_copied(deployment: Deployment, owner: WorkerProcess, follower: WorkerProcess) -> bool:
    """Whether the follower's copies of what the owner owns are complete, up to where the changelog ends now."""
    ends, owned = deployment.ends(deployment.names.changelog), owned_by(deployment, owner)
    return bool(owned) and all(
        position_of(deployment, follower, number) >= ends[deployment.names.changelog, number] - 1 for number in owned
    )


def position_of(deployment: Deployment, worker: WorkerProcess, partition: int) -> int:
    """The changelog offset up to which a worker's table of a partition is complete, -1 for none; it may be running."""
    tables = local_tables(deployment.folder / "data", partition, only=frozenset())
    return next((table.position for table in tables if table.worker == worker.spec.name), -1)


def running(deployment: Deployment, worker: WorkerProcess) -> set[str]:
    """Turns that run on this worker now."""
    log = deployment.log()
    epochs = {number: epochs[-1] for number, epochs in log.epochs.items() if log.owners[number] == worker.spec.name}
    last = {call.turn_id or "": call for call in deployment.calls()}
    return {
        turn_id
        for turn_id, call in last.items()
        if turn_id not in log.outcomes
        and call.pid == worker.pid
        and call.epoch == epochs.get(partition_for((call.session_id or "").encode(), deployment.partitions))
    }


def test_rolling_restart_under_load_nothing_lost_and_no_drained_turn_run_twice(deployment: Deployment) -> None:
    """Each of two workers is stopped by SIGTERM and started again; what ran there is finished there.

    Fails with ``BARNABAS_TEST_OFF=drain`` (turns are cut off and begun again).
    """
    patient = {"drain_timeout_s": 45.0}
    workers = {name: deployment.start(name, limits=patient) for name in ("w1", "w2")}
    settled(deployment, *workers.values())
    drained: set[str] = set()
    with Load(deployment, rate=60, sessions=100, text="medium") as load:
        for name in ("w1", "w2"):
            more = load.sent + 60
            deployment.wait(lambda more=more: load.sent > more, "a second of load")
            deployment.wait(lambda name=name: running(deployment, workers[name]), "turns run")
            drained |= running(deployment, workers[name])
            assert workers[name].stop() == 0
            workers[name] = deployment.start(name, limits=patient)
            settled(deployment, *workers.values())
    deployment.wait_answered()
    deployment.wait_committed()
    for worker in workers.values():
        assert worker.stop() == 0
    deployment.check()
    calls = Counter(call.turn_id for call in deployment.calls())
    assert [turn_id for turn_id in drained if calls[turn_id] > 1] == []


def test_kill_with_standby_replicas_the_other_worker_reads_only_the_tail(deployment: Deployment) -> None:
    """The survivor has a copy of what it takes over. Fails with ``BARNABAS_TEST_OFF=standby``: it has none.

    Without the wait for the copy it fails then by what the survivor reads, which is all.
    """
    first = deployment.start("w1", standby_replicas=1)
    first.wait_ready()
    second = deployment.start("w2", standby_replicas=1)
    settled(deployment, first, second)
    for number in range(400):
        deployment.publish(f"s{number % 40}", f"fast {number}")
    deployment.flush()
    deployment.wait_answered()
    deployment.wait_committed()
    deployment.wait(lambda: is_copied(deployment, first, second), "the copies are complete", 60.0)
    copied = deployment.ends(deployment.names.changelog)
    owned, before = owned_by(deployment, first), len(recoveries(second))
    deployment.kill(first)
    deployment.wait(
        lambda: set(deployment.log().owners.values()) == {"w2"},
        "the other worker took over",
    )
    deployment.publish("after", "fast one")
    deployment.flush()
    deployment.wait_answered()
    deployment.wait_committed()
    taken = recoveries(second)[before:]  # more than one where the group is shared out once more
    assert sum(partitions for partitions, _ in taken) >= len(owned)
    written_since = sum(deployment.ends(deployment.names.changelog).values()) - sum(copied.values())
    assert sum(records for _, records in taken) <= written_since < sum(copied.values()) / 4
    assert second.stop() == 0
    deployment.check()
