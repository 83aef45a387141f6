"""Repair of holes: one reading of a partition at a time, none for a partition that went."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from state.changelog import ChangelogReader, ChangelogUnreadableError
from state.repair import Repair
from state.store import ChangelogRecord
from tests.functional.state.stores import session_value
from tests.support.waiting import eventually


class GatedChangelog(ChangelogReader):
    """A changelog whose readings wait until they are let go."""

    def __init__(self) -> None:
        self.end = 0
        self.began: list[int] = []
        self.ended = 0
        self.is_away = False
        self.gate = threading.Event()

    def highwaters(self, partitions: list[int], **_options: Any) -> dict[int, tuple[int, int]]:
        """Where it ends by now."""
        if self.is_away:
            raise ChangelogUnreadableError("the broker is away")
        return dict.fromkeys(partitions, (0, self.end))

    def read(
        self, ranges: Any, *, deadline_s: float, stop: threading.Event | None = None
    ) -> Iterator[tuple[int, list[ChangelogRecord], int]]:
        """Yield a reading's records once it may."""
        assert stop is not None
        assert deadline_s > 0
        ((partition, (first, end)),) = ranges.items()
        self.began.append(first)
        while not self.gate.wait(0.001):
            if stop.is_set():
                break
        self.ended += 1
        yield partition, [ChangelogRecord(n, b"s", session_value(folded=n)) for n in range(first, end)], end


class Resent:
    """A write path that notes what it has to send again."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, bytes, int]] = []
        #: What the next one raises.
        self.error: Exception | None = None

    def resend(self, partition: int, key: bytes, folded: int) -> None:
        """Note it."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.keys.append((partition, key, folded))


@pytest.fixture
async def changelog() -> AsyncIterator[GatedChangelog]:
    """Give a changelog; its readings end with the test."""
    made = GatedChangelog()
    yield made
    made.gate.set()


@pytest.fixture
async def repair(changelog: GatedChangelog) -> AsyncIterator[Repair]:
    """Give a repair of it."""
    made = Repair(changelog)
    made.attach(Resent())  # type: ignore[arg-type]
    yield made
    made.close()


async def test_holes_interleaved_are_read_together(repair: Repair, changelog: GatedChangelog) -> None:
    """A zombie's fifty records between ours: two readings, not fifty, the second from the lowest that was not read."""
    changelog.end = 1
    repair.hole_found(0, 0)
    await eventually(lambda: changelog.began)
    for first in range(1, 50):
        changelog.end = first + 1
        repair.hole_found(0, first)
        await asyncio.sleep(0)
    changelog.gate.set()
    await eventually(lambda: not repair._tasks)
    assert changelog.began == [0, 1]
    assert repair._write_path.keys == [(0, b"s", 0), (0, b"s", 49)]  # type: ignore[union-attr]


async def test_drop_ends_the_reading_and_its_thread(repair: Repair, changelog: GatedChangelog) -> None:
    """A partition that went: its thread is free again, and nothing is sent; another's repair goes on."""
    changelog.end = 1
    repair.hole_found(0, 0)
    await eventually(lambda: changelog.began)
    repair.drop(0)
    await eventually(lambda: changelog.ended)
    repair.hole_found(1, 0)
    changelog.gate.set()
    await eventually(lambda: not repair._tasks)
    assert repair._write_path.keys == [(1, b"s", 0)]  # type: ignore[union-attr]


async def test_close_broker_away_nothing_is_asked_again(
    repair: Repair, changelog: GatedChangelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt would come on a loop whose worker has ended."""
    monkeypatch.setattr("state.repair._AGAIN_S", 0.01)
    changelog.is_away = True
    repair.hole_found(0, 0)
    await asyncio.sleep(0.05)  # some attempts
    assert repair._tasks
    repair.close()
    changelog.is_away = False
    await asyncio.sleep(0.05)
    assert changelog.began == []


async def test_repair_that_fails_is_made_again(
    repair: Repair, changelog: GatedChangelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went wrong: a hole that is forgotten leaves the zombie's value the key's last, silently.

    Mutant: ``resend`` called behind the ``try``; the hole not kept.
    """
    monkeypatch.setattr("state.repair._AGAIN_S", 0.001)
    repair._write_path.error = KeyError("a mistake of ours")  # type: ignore[union-attr]
    changelog.end = 1
    changelog.gate.set()
    repair.hole_found(0, 0)
    await eventually(lambda: not repair._tasks)
    assert changelog.began == [0, 0]
    assert repair._write_path.keys == [(0, b"s", 0)]  # type: ignore[union-attr]


async def test_repair_that_was_ended_is_begun_anew_by_the_next_hole(repair: Repair, changelog: GatedChangelog) -> None:
    """Its place is free again, whatever ended it, and it takes nobody else's. Mutants: the task kept; not compared."""
    changelog.end = 1
    repair.hole_found(0, 0)
    await eventually(lambda: changelog.began)
    repair._tasks[0].cancel()
    await eventually(lambda: not repair._tasks)
    repair.hole_found(0, 0)
    await eventually(lambda: len(changelog.began) == 2)
    dropped = repair._tasks[0]
    repair.drop(0)
    repair.hole_found(0, 0)
    await eventually(dropped.done)
    running = repair._tasks[0]
    changelog.gate.set()
    await eventually(running.done)
    assert not repair._tasks
    assert repair._write_path.keys == [(0, b"s", 0)]  # type: ignore[union-attr]
