"""What a process holds: files, threads, RocksDB handles, and, of this one, tasks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.soak.finding import Finding

#: RocksDB holds this file of each open database.
_ROCKSDB_LOCK = "LOCK"

#: How long what ended may take to be gone, in seconds; nothing waits where all is gone.
_SETTLE_S = 30.0

#: Connections that may be more than at first: one of each Kafka client that had been idle then.
_RECONNECTS = 2


@dataclass(frozen=True, slots=True)
class Held:
    """Handles held at one moment.

    Attributes:
        stores: RocksDB databases that are open.
        descriptors: File descriptors, pipes included; without connections, and without the table files of open
            databases, which come and go up to ``max_open_files``.
        connections: TCP connections; clients close idle ones and open them again.
        threads: Native threads, librdkafka's and RocksDB's included.
        files: Regular files, counted by path; without those of open databases.
        tasks: asyncio tasks of the running loop, counted by coroutine; of this process only.
        named_threads: Python's threads, counted by name; of this process only.
    """

    stores: int
    descriptors: int
    connections: int
    threads: int
    files: Counter[str]
    tasks: Counter[str] = field(default_factory=Counter)
    named_threads: Counter[str] = field(default_factory=Counter)

    def excess_over(self, before: Held) -> dict[str, str]:
        """Return what is held beyond ``before``: the figures by kind, with names where they are known."""
        kinds = {
            "RocksDB handles": (before.stores, self.stores, Counter[str]()),
            "file descriptors": (before.descriptors, self.descriptors, self.files - before.files),
            "connections": (before.connections + _RECONNECTS, self.connections, Counter[str]()),
            "threads": (before.threads, self.threads, self.named_threads - before.named_threads),
            "tasks": (before.tasks.total(), self.tasks.total(), self.tasks - before.tasks),
        }
        return {
            kind: f"{was} at first, {now} at last{_named(names)}"
            for kind, (was, now, names) in kinds.items()
            if now > was
        }


def _named(names: Counter[str]) -> str:
    return "; more of " + ", ".join(f"{name} ({count})" for name, count in names.most_common(3)) if names else ""


def held_by(process: psutil.Process) -> Held:
    """Count what a process holds."""
    with process.oneshot():
        files = Counter(file.path for file in process.open_files())
        stores = {os.path.dirname(path) for path in files if os.path.basename(path) == _ROCKSDB_LOCK}  # noqa: PTH119, PTH120
        others = Counter({path: n for path, n in files.items() if os.path.dirname(path) not in stores})  # noqa: PTH120
        connections = len(process.net_connections("inet"))
        return Held(
            stores=len(stores),
            descriptors=process.num_fds() - connections - (files.total() - others.total()),
            connections=connections,
            threads=process.num_threads(),
            files=others,
        )


def held_here() -> Held:
    """Count what this process and its loop hold, without the default executor's threads: they come as needed."""
    held = held_by(psutil.Process())
    names = [thread.name for thread in threading.enumerate()]
    own = [name for name in names if not name.startswith("asyncio_")]
    return Held(
        stores=held.stores,
        descriptors=held.descriptors,
        connections=held.connections,
        threads=held.threads - (len(names) - len(own)),
        files=held.files,
        tasks=Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks()),
        named_threads=Counter(own),
    )


async def findings_since(before: Held, where: str, held: Callable[[], Held] = held_here) -> list[Finding]:
    """Judge whether all handles return to ``before``'s; a thread or a task may take a moment to end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLE_S
    while (excess := held().excess_over(before)) and loop.time() < deadline:  # noqa: ASYNC110 -- the kernel's word
        await asyncio.sleep(0.05)
    kinds = ("RocksDB handles", "file descriptors", "connections", "threads", *(("tasks",) if before.tasks else ()))
    return [Finding(f"{where}: {kind}", kind in excess, excess.get(kind, "as at first")) for kind in kinds]
