"""Bounds of a topic: asked once for many, never older than what the asker knows."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import OffsetSpec

from barnabas.bounds import Bounds, TopicOffsets


class HeldOffsets(TopicOffsets):
    """Answers are held until a test lets them go; each is what was there when the broker was asked."""

    def __init__(self) -> None:
        super().__init__("t.tokens", 1, {"bootstrap.servers": "127.0.0.1:1"})
        self.end = 0
        self.requests = 0
        self.asked, self.go, self.ending = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def _list(self, spec: OffsetSpec) -> list[int]:
        if spec is not OffsetSpec.latest():
            self.ending.set()
            return [0]
        self.requests += 1
        end = self.end
        self.asked.set()
        await self.go.wait()
        return [end]


@pytest.fixture
async def offsets() -> HeldOffsets:
    """Give a topic of one partition that grows as a test says."""
    return HeldOffsets()


async def test_of_an_answer_older_than_the_asker_is_asked_for_again(offsets: HeldOffsets) -> None:
    """The request that it joined had been made before the records behind its cursor were written."""
    offsets.end = 5
    early = asyncio.create_task(offsets.of(0))
    async with asyncio.timeout(60):
        await offsets.asked.wait()
    offsets.end = 9
    late = [asyncio.create_task(offsets.of(0, at_least=9)) for _ in range(3)]
    await asyncio.sleep(0)
    offsets.go.set()
    async with asyncio.timeout(60):
        assert await early == Bounds(0, 5)
        assert await asyncio.gather(*late) == [Bounds(0, 9)] * 3
    assert offsets.requests == 2


async def test_of_an_answer_that_has_just_come_is_not_waited_for_again(offsets: HeldOffsets) -> None:
    """Between an answer and what is called at it others run: to them the question is over.

    Mutant: they wait for it, twice, and are told at once that what they know of was never written.
    """

    async def ask_in_between() -> Bounds:
        await offsets.ending.wait()
        offsets.end = 9
        return await offsets.of(0, at_least=9)

    offsets.end = 5
    offsets.go.set()
    late = asyncio.create_task(ask_in_between())
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert await offsets.of(0) == Bounds(0, 5)
        assert await late == Bounds(0, 9)


async def test_of_an_offset_that_was_never_written_ends(offsets: HeldOffsets) -> None:
    """A topic that was made anew: the broker is asked, and its answer holds."""
    offsets.end = 5
    offsets.go.set()
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(offsets.of(0, at_least=100) for _ in range(3)))
    assert answers == [Bounds(0, 5)] * 3
    assert offsets.requests <= 2
