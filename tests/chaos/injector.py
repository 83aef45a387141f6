"""Does what the plan says, when it says it: each fault in a thread of its own, so that they overlap."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.broker import Broker
from tests.chaos.evidence import Wound
from tests.chaos.fleet import Fleet, Slot
from tests.chaos.plan import Fault, Kind, Plan

#: A fault waits so long for the one before it on the same worker; then it is left out.
_BUSY_S: Final = 60.0
_FLIPPED_BYTES: Final = 12
_CORRUPTIBLE: Final = ("*.sst", "*.log", "MANIFEST-*")

#: What a full disk has broken shows within this time after it.
_AFTERMATH_S: Final = 30.0

#: An outage longer than the shortest of the workers' deadlines (``limits.recovery_timeout_s`` of a run) may end them.
_DEADLINE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A fault and when it was really done, in seconds from the start of the load."""

    fault: Fault
    began_s: float
    ended_s: float
    note: str = ""


class Injector:
    """Injects the faults of a plan."""

    def __init__(self, plan: Plan, fleet: Fleet, broker: Broker, *, say: Callable[[str], None]) -> None:
        self._plan, self._fleet, self._broker, self._say = plan, fleet, broker, say
        self._broker_busy = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._began = 0.0
        self._extra = 0
        self.done: list[Done] = []
        #: Databases whose bytes were flipped, and when last, Unix time.
        self.damaged: dict[Path, float] = {}
        #: What may make a process end.
        self.wounds: list[Wound] = []
        #: What the suite itself could not do, which is a failure of the run.
        self.errors: list[str] = []

    def start(self) -> None:
        """Begin now."""
        self._began = time.monotonic()
        timer = threading.Thread(target=self._run, daemon=True)
        timer.start()
        self._threads.append(timer)

    def finish(self) -> None:
        """Wait until all that was begun is undone: every worker is woken, the broker is back, the disks are free."""
        for thread in self._threads:  # the timer first: it starts no more afterwards
            thread.join(4 * _BUSY_S)
            if thread.is_alive():
                self.errors.append(f"a fault did not end: {thread.name}")

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    def _run(self) -> None:
        for fault in self._plan.faults:
            if self._stop.wait(max(0.0, self._began + fault.at_s - time.monotonic())):
                return
            thread = threading.Thread(target=self._inject, args=(fault,), name=str(fault), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _inject(self, fault: Fault) -> None:
        began = time.monotonic() - self._began
        self._say(str(fault))
        note = ""
        try:
            if fault.kind in {Kind.BROKER_KILL, Kind.BROKER_STOP}:
                note = self._on_broker(fault)
            elif fault.kind is Kind.JOIN_LEAVE:
                self._join_leave(fault)
            else:
                note = self._on_worker(fault, self._fleet.slot(f"w{fault.worker + 1}"))
        except Exception as error:  # noqa: BLE001 -- the run goes on, and fails at its end
            self.errors.append(f"{fault}: {error!r}")
        self.done.append(Done(fault, round(began, 2), round(time.monotonic() - self._began, 2), note))

    # -- The broker

    def _on_broker(self, fault: Fault) -> str:
        if not self._broker_busy.acquire(timeout=_BUSY_S):
            return "left out: the broker is busy"
        try:
            if fault.kind is Kind.BROKER_KILL:
                self._broker.kill()
            else:
                self._broker.stop()
            began = time.time()
            self._pause(fault.duration_s)
            self._broker.start()
            if time.time() - began > _DEADLINE_S:
                self.wounds.append(Wound("", str(fault.kind), began, time.time(), time.time() + _DEADLINE_S))
        finally:
            self._broker_busy.release()
        return ""

    # -- Workers

    def _on_worker(self, fault: Fault, slot: Slot) -> str:
        if not slot.busy.acquire(timeout=_BUSY_S):
            return "left out: the worker is busy"
        try:
            return self._do(fault, slot) or ""
        finally:
            slot.busy.release()

    def _do(self, fault: Fault, slot: Slot) -> str | None:
        match fault.kind:
            case Kind.KILL:
                slot.signal(signal.SIGKILL)
            case Kind.TERM:
                slot.down(signal.SIGTERM)
                slot.up()
            case Kind.TERM_AT_START:
                slot.down(signal.SIGKILL)
                slot.up()
                self._pause(fault.duration_s)
                slot.down(signal.SIGTERM)
                slot.up()
            case Kind.STUTTER | Kind.ZOMBIE:
                slot.signal(signal.SIGSTOP)
                self._pause(fault.duration_s)
                slot.signal(signal.SIGCONT)
            case Kind.WIPE:
                slot.down(signal.SIGKILL)
                shutil.rmtree(slot.folder, ignore_errors=True)
                self._healed(slot)
                self._pause(fault.duration_s)
                slot.up()
            case Kind.CORRUPT_DOWN:
                slot.down(signal.SIGKILL)
                flipped = self._corrupt(slot, fault)
                slot.up()
                return flipped
            case Kind.CORRUPT_RUNNING:
                return self._corrupt(slot, fault)
            case Kind.DISK_FULL:
                self._fill(slot, fault)
            case _:
                raise ValueError(fault.kind)
        return None

    def _join_leave(self, fault: Fault) -> None:
        """Two workers of their own come, and go again a moment after each other."""
        names = [f"x{self._extra + 1}", f"x{self._extra + 2}"]
        self._extra += 2
        first, second = (self._fleet.slot(name) for name in names)
        first.up()
        self._pause(fault.duration_s / 4)
        second.up()
        self._pause(2.0 + fault.duration_s)  # joined by then, or in the middle of it
        first.down(signal.SIGTERM)
        self._pause(fault.duration_s / 8)
        second.down(signal.SIGTERM)

    def _fill(self, slot: Slot, fault: Fault) -> None:
        began = time.time()
        slot.fill_disk()
        self._pause(fault.duration_s)
        slot.free_disk()
        ended = time.time()
        self.wounds.append(Wound(slot.name, str(fault.kind), began, ended, ended + _AFTERMATH_S))

    def _healed(self, slot: Slot) -> None:
        """What was damaged is gone."""
        for wound in self.wounds:
            if wound.worker == slot.name:
                wound.until = min(wound.until, time.time())
        for path in [path for path in self.damaged if path.is_relative_to(slot.folder)]:
            del self.damaged[path]

    def _corrupt(self, slot: Slot, fault: Fault) -> str:
        """Flip bytes in one file of a database of the worker's, in two of three cases the largest kinds."""
        rng = random.Random(fault.seed)
        databases = sorted(slot.folder.glob("v*/tables/*.db"))
        if not databases:
            return "no database yet"
        database = rng.choice(databases)
        files = [path for pattern in _CORRUPTIBLE for path in sorted(database.glob(pattern)) if _size(path) > 0]
        if not files:
            return "no file yet"
        path = rng.choice(files)
        self.damaged[database] = now = time.time()
        self.wounds.append(Wound(slot.name, str(fault.kind), now, now))
        with suppress(FileNotFoundError), path.open("r+b") as file:  # RocksDB may remove it meanwhile
            size = _size(path)
            for _ in range(_FLIPPED_BYTES):
                file.seek(place := rng.randrange(size))
                (byte,) = file.read(1)
                file.seek(place)
                file.write(bytes([byte ^ rng.randint(1, 255)]))
        return f"{database.name}/{path.name}"

    def _pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
