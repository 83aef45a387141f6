"""The log once more: a session's events or a partition's, each with its verdict, and then what comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from barnabas.connection import Connection
from barnabas.history.history import History
from barnabas.history.indexer import OnProgress
from barnabas.history.judge import Judge
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import Moment
from schemas.errors import SettingsError

_BATCH: Final = 500

#: ``max``, or a factor such as ``1x`` (the original spacing) or ``10x``.
Speed = str

_SPEED: Final = re.compile(r"(\d+(?:\.\d+)?)x?")


class Replay:
    """A range of the log.

    Args:
        connection: The deployment.
        key: A session's key; its events alone.
        partition: ... or a whole partition.
        start: The first event; else the oldest kept.
        end: The last event; else what is there now.
        follow: Go on with what comes.
        speed: See :data:`Speed`.
        on_progress: Hears how far a long reading is.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        key: bytes | None,
        partition: int | None,
        start: Moment | None,
        end: Moment | None,
        follow: bool,
        speed: Speed,
        on_progress: OnProgress | None,
    ) -> None:
        self._connection = connection
        self._key = key
        self._start, self._end, self._follow = start, end, follow
        self._factor = factor_of(speed)
        self._on_progress = on_progress
        if key is not None:
            partition = connection.partition_of(key)
        if partition is None or not 0 <= partition < connection.partitions:
            last = connection.partitions - 1
            raise SettingsError(f"partition: {partition} is impossible; name a session, or a partition of 0 to {last}")
        if follow and end is not None:
            raise SettingsError("a replay that follows has no end; leave one of the two out")
        self._partition = partition

    async def events(self) -> AsyncGenerator[LoggedEvent, None]:
        """Iterate, at the speed asked for; the reading is done in a thread, which ends with the iteration."""
        pace = _Pace(self._factor)
        history = History(self._connection, self._on_progress)
        batches = self._batches(history)
        loop = asyncio.get_running_loop()

        def end() -> None:
            batches.close()
            history.close()

        with ThreadPoolExecutor(1, thread_name_prefix="barnabas-replay") as thread:
            try:
                while (batch := await loop.run_in_executor(thread, next, batches, None)) is not None:
                    for event in batch:
                        await pace.wait(event.timestamp_ms)
                        yield event
            finally:
                history.stop()  # whoever leaves in the middle waits for the batch that the thread is at, and no more
                await loop.run_in_executor(thread, end)

    def _batches(self, history: History) -> Generator[list[LoggedEvent], None, None]:
        start = history.start_of(self._partition, self._start)
        end = history.end_of(self._partition, self._end)
        if self._key is not None:
            yield from _batched(history.events(self._key, start, end))
            if self._follow:
                with closing(history.judge(self._partition, max(start, end))) as judge:
                    yield from self._comes(history, judge, max(start, end))
            return
        with closing(history.judge(self._partition, start)) as judge:
            for messages in history.log.read(self._partition, start, end):
                yield [judge.judge(message) for message in messages]
                if self._on_progress is not None:
                    self._on_progress(messages[-1].offset() + 1 - start, end - start)
            if self._follow:
                yield from self._comes(history, judge, max(start, end))

    def _comes(self, history: History, judge: Judge, first: int) -> Iterator[list[LoggedEvent]]:
        for messages in history.log.follow(self._partition, first):
            batch: list[LoggedEvent] = []
            for message in messages:
                key = message.key()
                if self._key in {None, key}:
                    batch.append(judge.judge(message))
                elif key is None:  # an opening, which decides what counts behind it; other sessions stay unread
                    judge.judge(message)
            yield batch


class _Pace:
    """Keeps the distances in time of what is replayed, divided by a factor; 0 keeps none."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._began: float | None = None
        self._first_ms = 0

    async def wait(self, timestamp_ms: int) -> None:
        """Wait until it is this record's turn."""
        if not self._factor:
            return
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began, self._first_ms = now, timestamp_ms
        due = self._began + (timestamp_ms - self._first_ms) / 1000 / self._factor
        if due > now:
            await asyncio.sleep(due - now)


def factor_of(speed: Speed) -> float:
    """Return the factor of a speed, 0 for ``max``.

    Raises:
        SettingsError: It is none.
    """
    if speed == "max":
        return 0.0
    found = _SPEED.fullmatch(speed)
    if found is None or not float(found[1]):
        raise SettingsError(f"speed: {speed!r} is none; say 1x, 10x, 0.5x or max")
    return float(found[1])


def _batched(events: Iterator[LoggedEvent]) -> Iterator[list[LoggedEvent]]:
    batch: list[LoggedEvent] = []
    for event in events:
        batch.append(event)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
