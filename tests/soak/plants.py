"""Leaks planted on purpose, to see that the soak finds them: ``python -m tests.soak --plant list``."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from state.store import SessionStore
from streams.partition import Partition
from streams.turn import Turn


@contextmanager
def _list_per_turn() -> Iterator[None]:
    """A module keeps every turn."""
    kept: list[Turn] = []
    init = Turn.__init__

    def keeping(self: Turn, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        kept.append(self)

    with patch.object(Turn, "__init__", keeping):
        yield


@contextmanager
def _task_per_message() -> Iterator[None]:
    """A task is begun and never awaited."""
    kept: set[asyncio.Task[None]] = set()
    offer = Partition.offer

    async def waits_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    def spawning(self: Partition, incoming: Any) -> None:
        kept.add(asyncio.create_task(waits_for_nothing()))
        offer(self, incoming)

    with patch.object(Partition, "offer", spawning):
        yield
    for task in kept:
        if not task.get_loop().is_closed():
            task.cancel()


@contextmanager
def _file_per_message() -> Iterator[None]:
    """A file is opened and never closed."""
    kept: list[int] = []
    offer = Partition.offer

    def opening(self: Partition, incoming: Any) -> None:
        kept.append(os.open(__file__, os.O_RDONLY))
        offer(self, incoming)

    with patch.object(Partition, "offer", opening):
        yield
    for descriptor in kept:
        os.close(descriptor)


@contextmanager
def _store_not_closed() -> Iterator[None]:
    """A partition's database stays open when its worker ends (F18)."""
    kept: list[Any] = []

    def forgetting(self: SessionStore, partition: int) -> None:
        self._owned.discard(partition)
        db = self._dbs.pop(partition, None)
        if db is not None:
            kept.append(db)

    with patch.object(SessionStore, "close_partition", forgetting):
        yield
    for db in kept:
        db.close()


@contextmanager
def _never_unfrozen() -> Iterator[None]:
    """What a worker takes out of the collector's sight is never collected."""
    with patch.object(gc, "unfreeze", lambda: None):
        yield
    gc.unfreeze()


PLANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "list": _list_per_turn,
    "task": _task_per_message,
    "file": _file_per_message,
    "store": _store_not_closed,
    "frozen": _never_unfrozen,
}


@contextmanager
def planted(*names: str) -> Iterator[None]:
    """Have these leaks meanwhile; what they kept is released at the end."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(PLANTS[name]())
        yield
