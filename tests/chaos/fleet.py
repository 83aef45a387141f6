"""The workers of a run, each with a supervisor that starts it again when it ends, as ``barnabas up`` does."""

from __future__ import annotations

import resource
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.chaos.disk import Disk
from tests.chaos.limits import STOP_S
from tests.support.processes import BarnabasProcess

_POLL_S: Final = 0.05
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 8.0
_QUIET_S: Final = 20.0

#: Where a worker has no disk of its own: as good as a full one, no file of RocksDB can grow beyond a few records.
_FULL_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that ended.

    Attributes:
        worker: Its name.
        pid: Its process id.
        code: Its exit code; negative is a signal.
        started_at: Unix time.
        at: ... when it was seen to have ended.
        sent: The signal by which the suite ended it; 0 where it did not.
        was_ready: Whether it had said that it is.
        said: Its last line on stderr.
    """

    worker: str
    pid: int
    code: int
    started_at: float
    at: float
    sent: int
    was_ready: bool
    said: str

    @property
    def is_asked(self) -> bool:
        """Whether it ended because the suite said so, and as it should."""
        if self.sent == signal.SIGTERM:
            is_too_early = self.code == -signal.SIGTERM and not self.was_ready  # no handler yet
            return self.code == 0 or is_too_early
        return self.sent == signal.SIGKILL and self.code == -signal.SIGKILL


@dataclass
class Slot:
    """One worker that is to run: its process, and who uses it.

    Attributes:
        name: The worker's name.
        busy: Held by the fault that works on it.
        file_limit: Largest file its processes may write, in bytes; None for no limit.
        disk: Its folder's.
    """

    name: str
    data_dir: Path
    env: dict[str, str | None]
    module: str
    log: Path
    exits: list[Exit]
    busy: threading.Lock = field(default_factory=threading.Lock)
    process: BarnabasProcess | None = None
    file_limit: int | None = None
    disk: Disk = field(init=False)
    _sent: int = 0
    _is_wanted: bool = False
    _backoff_s: float = _FIRST_BACKOFF_S
    _start_at: float = 0.0
    _started_at: float = 0.0
    _born_at: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.disk = Disk(self.folder)

    @property
    def folder(self) -> Path:
        """Its own data."""
        return self.data_dir / "workers" / self.name

    @property
    def is_ready(self) -> bool:
        """Whether its process runs and has said that it is ready."""
        process = self.process
        return process is not None and process.is_running and _was_ready(process)

    def up(self) -> BarnabasProcess:
        """Start it, and keep it running from now on."""
        with self._lock:
            self._is_wanted, self._backoff_s = True, _FIRST_BACKOFF_S
            return self._start()

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal; what ends by it is started again."""
        with self._lock:
            if self.process is not None:
                self._send(self.process, number)

    def down(self, number: signal.Signals) -> None:
        """End it by a signal and leave it down.

        Raises:
            AssertionError: It did not end in time, a broken promise.
        """
        with self._lock:
            self._is_wanted = False
            process = self.process
        if process is not None:
            self._send(process, number)
            process.wait(STOP_S)
            self._note(process)

    def fill_disk(self) -> None:
        """Leave it no room to write, this process and those that follow."""
        with self._lock:
            if self.disk.is_mounted:
                self.disk.fill()
            else:
                self._limit(_FULL_BYTES)

    def free_disk(self) -> None:
        """Let it write again."""
        with self._lock:
            if self.disk.is_mounted:
                self.disk.free()
            else:
                self._limit(None)

    def watch(self) -> None:
        """Start it again if it ended and its pause is over."""
        with self._lock:
            process = self.process
            if process is not None and not process.is_running:
                if self._is_wanted:
                    self._note(process)
                    if time.monotonic() - self._started_at > _QUIET_S:
                        self._backoff_s = _FIRST_BACKOFF_S
                    self._start_at = time.monotonic() + self._backoff_s
                    self._backoff_s = min(_LAST_BACKOFF_S, 2 * self._backoff_s)
            elif process is None and self._is_wanted and time.monotonic() >= self._start_at:
                self._start()

    def close(self) -> None:
        """Kill what runs."""
        with self._lock:
            self._is_wanted = False
            if self.process is not None:
                self.process.close()
                self.process = None
            self.disk.close()

    def _start(self) -> BarnabasProcess:
        self._started_at, self._born_at, self._sent = time.monotonic(), time.time(), 0
        self.process = BarnabasProcess(
            ("worker", "--json", "--name", self.name), env=self.env, log=self.log, module=self.module
        )
        self._apply_limit()
        return self.process

    def _limit(self, size: int | None) -> None:
        self.file_limit = size
        self._apply_limit()

    def _apply_limit(self) -> None:
        if self.process is None or not self.process.is_running:
            return
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        soft = resource.RLIM_INFINITY if self.file_limit is None else self.file_limit
        with suppress(ProcessLookupError):
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def _send(self, process: BarnabasProcess, number: signal.Signals) -> None:
        """Send a signal; one that ends it is remembered, unless it has ended before."""
        if process.is_running and number in {signal.SIGKILL, signal.SIGTERM}:
            self._sent = number
        process.send(number)

    def _note(self, process: BarnabasProcess) -> None:
        with self._lock:
            if self.process is process:
                code = process.wait()
                process.close()
                ready, said = _was_ready(process), process.tail(1)
                self.exits.append(
                    Exit(self.name, process.pid, code, self._born_at, time.time(), self._sent, ready, said)
                )
                self.process = None


def _was_ready(process: BarnabasProcess) -> bool:
    return any('"event"' in line and '"ready"' in line for line in tuple(process.lines))


class Fleet:
    """All workers of a run; a context manager that leaves none behind."""

    def __init__(self, folder: Path, env: dict[str, str | None], *, module: str = "barnabas") -> None:
        self.data_dir = folder / "data"
        self.exits: list[Exit] = []
        self.slots: dict[str, Slot] = {}
        self._folder, self._env, self._module = folder, env, module
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def slot(self, name: str) -> Slot:
        """Return the slot of a name; a new one is down."""
        if name not in self.slots:
            self.slots[name] = Slot(
                name, self.data_dir, self._env, self._module, self._folder / f"{name}.log", self.exits
            )
        return self.slots[name]

    def stop(self) -> list[str]:
        """End all by SIGTERM; returns what did not end as it should."""
        wrong: list[str] = []
        for slot in [*self.slots.values()]:
            try:
                slot.down(signal.SIGTERM)
            except AssertionError as error:
                wrong.append(str(error).splitlines()[0])
        return wrong

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)
        for slot in self.slots.values():
            slot.close()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_S):
            for slot in [*self.slots.values()]:
                slot.watch()
