"""Reads while owners come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.deployment import PARTITIONS, Deployment
from tests.support.patience import CONDITION_S
from tests.support.reading_gateway import Api, opened
from topics.partitioner import partition_for

#: Three on each partition.
SESSIONS = [
    name
    for partition in range(PARTITIONS)
    for name in [
        name for name in map("s{}".format, range(99)) if partition_for(name.encode(), PARTITIONS) == partition
    ][:3]
]


async def _sources(api: Api, turns: int, partitions: Iterable[int] = range(PARTITIONS)) -> dict[int, str]:
    """Read every session of these partitions; each remembers all its turns, wherever that comes from."""
    sources: dict[int, str] = {}
    for session in [name for name in SESSIONS if partition_for(name.encode(), PARTITIONS) in {*partitions}]:
        shown = await api.get(f"/sessions/{session}")
        assert shown["turns"] == turns, shown
        assert [one["text"] for one in shown["memory"][::2]] == [f"fast {number}" for number in range(turns)]
        sources[shown["freshness"]["partition"]] = shown["freshness"]["source"]
    return sources


async def _owned_again(api: Api, turns: int, timeout_s: float = CONDITION_S) -> set[str]:
    """Read until every session comes from an owner; the sources that were met."""
    met: set[str] = set()
    deadline = time.monotonic() + timeout_s
    while True:
        sources = await _sources(api, turns)
        met |= {*sources.values()}
        if {*sources.values()} == {"owner"}:
            return met
        assert time.monotonic() < deadline, f"not from owners in {timeout_s:g} s: {sources}"
        await asyncio.sleep(0.05)


@pytest.mark.crash
async def test_killed_owner_is_followed_by_the_next(deployment: Deployment, tmp_path: Path) -> None:
    """SIGKILL: reads go on at once, right, from the log where the owner is gone, then from the next one.

    Seen to fail with ``Owners.of`` that asks for what is missing and never for what is wrong: the log answers for ever.
    """
    workers = [deployment.start(name) for name in ("w1", "w2")]
    for worker in workers:
        worker.wait_ready()
    for session in SESSIONS:
        deployment.publish(session, "fast 0")
    deployment.flush()
    deployment.wait_told()
    async with opened(deployment, tmp_path) as api:
        await _owned_again(api, 1)
        figures = await api.get("/figures")
        lost = {one["partition"] for one in figures["partitions"] if one["worker"] == "w1"}
        assert len(lost) == 2
        deployment.kill(workers[0])
        # At once: where the log is read for the first time, that takes its time, and the next owner is not far.
        gone, kept = await asyncio.gather(_sources(api, 1, lost), _sources(api, 1, {*range(PARTITIONS)} - lost))
        assert {*kept.values()} == {"owner"}
        page = await api.get("/sessions")
        assert [one["session_id"] for one in page["sessions"]] == sorted(SESSIONS)
        assert [one["partition"] for one in page["freshness"]] == [*range(PARTITIONS)]
        silent = await api.get("/figures")
        assert {*silent["silent"]} <= {"w1"}
        assert {*silent["unowned"]} <= lost
        assert "log" in {*gone.values()} | await _owned_again(api, 1)
        for session in SESSIONS:
            deployment.publish(session, "fast 1")
        deployment.flush()
        await asyncio.to_thread(deployment.wait_told)
        await _owned_again(api, 2)


@pytest.mark.crash
async def test_frozen_owner_that_wakes_does_not_answer_from_the_past(deployment: Deployment, tmp_path: Path) -> None:
    """SIGSTOP beyond the session time-out, a turn elsewhere, SIGCONT: nobody is shown the session without that turn.

    Seen to fail with ``BARNABAS_TEST_OFF=lease``: the gateway knows the old address, and asks it first.
    """
    frozen = deployment.start("w1")
    frozen.wait_ready()
    for session in SESSIONS:
        deployment.publish(session, "fast 0")
    deployment.flush()
    deployment.wait_told()
    async with opened(deployment, tmp_path) as api:
        await _owned_again(api, 1)
        frozen.freeze()
        deployment.start("w2")
        for session in SESSIONS:
            deployment.publish(session, "fast 1")
        deployment.flush()
        await asyncio.to_thread(deployment.wait_told)
        frozen.thaw()
        for _ in range(20):
            await _sources(api, 2)
        await _owned_again(api, 2)
