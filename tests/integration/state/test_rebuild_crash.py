"""A rebuild that is killed, at any point, is harmless: run again it completes, and until then nothing looks whole."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from state.audit import rebuild
from state.changelog import ChangelogReader
from state.recovery import Recovered, Recovery
from tests.integration.state.deployments import Deployment
from tests.integration.state.test_audit import new_log
from tests.support.processes import ROOT, environment

#: Of the moments of the kills.
SEED = 7

#: Enough that a random kill comes in mid-write.
MANY = [("complete", f"s{n}") for n in range(1000) for _ in range(2)]


@contextmanager
def rebuilding(deployment: Deployment, point: str = "_write", number: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A rebuild in a process of its own, at work."""
    command = (deployment.servers, deployment.names.prefix, point, str(number))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.rebuild_main", *command],
        env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            yield process
        finally:
            process.kill()


async def recover(deployment: Deployment, worker: str) -> Recovered:
    """Recover into a new directory, as a worker that starts now."""
    store = deployment.store(worker)
    reader = ChangelogReader(deployment.names.changelog, {"bootstrap.servers": deployment.servers})
    try:
        return await Recovery(store, reader, deadline_s=20).run({0}, {0})
    finally:
        await store.stop()


@pytest.mark.parametrize(
    ("point", "number", "is_whole"),
    [
        ("_changelog", 1, False),
        ("_write", 1, False),
        ("_write", 2, False),
        ("_confirm", 1, False),
        ("_confirm", 2, True),
    ],
    ids=["before-writing", "first-value", "last-value", "values-confirmed", "all-confirmed"],
)
async def test_rebuild_killed_at_a_point_then_run_again_is_whole(
    deployment: Deployment, point: str, number: int, *, is_whole: bool
) -> None:
    """After the kill a worker folds the log by itself, unless all was there; the second run completes it.

    Mutant: the partition's record is written with the sessions: a worker takes half a table for the whole.
    """
    log = new_log()
    deployment.write_log(log)
    deployment.commit(log.next_offset, len(log.messages))
    with rebuilding(deployment, point, number) as process:
        assert process.wait(30) == -9

    assert (await recover(deployment, "worker-2")).refold == (set() if is_whole else {0})
    assert rebuild(deployment.servers, deployment.names).is_complete
    assert deployment.audit().findings == ()
    assert (await recover(deployment, "worker-3")).refold == set()


def test_rebuild_killed_at_random_again_and_again_is_whole_in_the_end(deployment: Deployment) -> None:
    """Each run goes on from what the one before left, wherever that was; the log alone is enough.

    Mutant: ``_changelog`` returns the claims it begins with: each run writes everything again, the last one, too.
    """
    moments = random.Random(SEED)
    log = new_log(MANY)
    deployment.write_log(log)
    deployment.commit(log.next_offset, len(log.messages))
    for _ in range(2):
        with rebuilding(deployment, "_write", moments.randrange(1, 300)) as process:
            assert process.wait(30) in {-9, 0}
    with rebuilding(deployment) as process, suppress(subprocess.TimeoutExpired):
        process.wait(moments.uniform(0.02, 0.4))  # and is killed wherever it is then
    report = rebuild(deployment.servers, deployment.names)

    assert report.is_complete
    assert report.sessions == len(MANY) // 2
    assert deployment.audit().findings == ()
    assert rebuild(deployment.servers, deployment.names).written == 0
