"""Does what the plan says, when it says it: each fault in a thread of its own, so that they overlap."""

from __future__ import annotations

import math
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from infra.broker import Broker
from tests.chaos.evidence import Wound
from tests.chaos.fleet import Fleet, Slot
from tests.chaos.limits import BROKER_START_S, RECOVERY_S
from tests.chaos.plan import Fault, Kind, Plan

T = TypeVar("T")

#: Notes: the two extra workers were members of the group, and nobody tried to write on a full disk.
BOTH_JOINED: Final = "both"
NOT_MET: Final = "nobody met it"

#: A fault waits so long for what it needs, in seconds: the one before it on the same worker to end, a file to damage,
#: a worker to join. Then it is left out, or noted as not met; long enough that only a run that fails anyway gets there.
_WAIT_S: Final = 240.0
_POLL_S: Final = 0.1
_FLIPPED_BYTES: Final = 12
_CORRUPTIBLE: Final = ("*.sst", "*.log", "MANIFEST-*")

#: A disk stays full until its worker has met it, while there is load; so much longer than planned at most, in seconds.
_MET_S: Final = 120.0

#: How a worker says that it could not write: on a full disk, or beyond its limit.
_FULL: Final = re.compile(r"No space left on device|File too large")

#: An outage longer than the shortest of the workers' deadlines may end them.
_DEADLINE_S: Final = RECOVERY_S


@dataclass(frozen=True, slots=True)
class Done:
    """A fault and when it was really done, in seconds from the start of the load.

    Attributes:
        note: What came of it, where there is more to say than that it was done; or why it was not.
        is_done: Whether it was.
    """

    fault: Fault
    began_s: float
    ended_s: float
    note: str = ""
    is_done: bool = True


class _LeftOutError(Exception):
    """What a fault needs is not there."""


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
        self._threads.append(timer)
        timer.start()

    def finish(self) -> None:
        """Wait until all that was begun is undone: every worker is woken, the broker is back, the disks are free."""
        for thread in self._threads:  # the timer first: it starts no more afterwards
            thread.join(4 * _WAIT_S)
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
            thread.start()
            self._threads.append(thread)

    def _inject(self, fault: Fault) -> None:
        began = time.monotonic() - self._began
        self._say(str(fault))
        note, is_done = "", True
        try:
            if fault.kind in {Kind.BROKER_KILL, Kind.BROKER_STOP}:
                self._on_broker(fault)
            elif fault.kind is Kind.JOIN_LEAVE:
                note = self._join_leave(fault)
            else:
                note = self._on_worker(fault, self._fleet.slot(f"w{fault.worker + 1}"))
        except _LeftOutError as why:
            note, is_done = f"left out: {why}", False
        except Exception as error:  # noqa: BLE001 -- the run goes on, and fails at its end
            note, is_done = repr(error), False
            self.errors.append(f"{fault}: {error!r}")
        self.done.append(Done(fault, round(began, 2), round(time.monotonic() - self._began, 2), note, is_done))

    # -- The broker

    def _on_broker(self, fault: Fault) -> None:
        if not self._broker_busy.acquire(timeout=_WAIT_S):
            raise _LeftOutError("the broker is busy")
        try:
            if fault.kind is Kind.BROKER_KILL:
                self._broker.kill()
            else:
                self._broker.stop()
            began = time.time()
            self._pause(fault.duration_s)
            self._broker.start(BROKER_START_S)
            if time.time() - began > _DEADLINE_S:
                self.wounds.append(Wound("", str(fault.kind), began, time.time()))
        finally:
            self._broker_busy.release()

    # -- Workers

    def _on_worker(self, fault: Fault, slot: Slot) -> str:
        if not slot.busy.acquire(timeout=_WAIT_S):
            raise _LeftOutError("the worker is busy")
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
                _wait_for(lambda: _files(slot), "no file of a database yet")
                slot.down(signal.SIGKILL)
                try:
                    return self._corrupt(slot, fault)
                finally:
                    slot.up()
            case Kind.CORRUPT_RUNNING:
                return self._corrupt(slot, fault)
            case Kind.DISK_FULL:
                return self._fill(slot, fault)
            case _:
                raise ValueError(fault.kind)
        return None

    def _join_leave(self, fault: Fault) -> str:
        """Two workers of their own come, and go again a moment after each other: joined, or in the middle of it."""
        names = [f"x{self._extra + 1}", f"x{self._extra + 2}"]
        self._extra += 2
        first, second = (self._fleet.slot(name) for name in names)
        first.up()
        self._pause(fault.duration_s / 4)
        second.up()
        if fault.seed % 2:
            _met(lambda: first.is_ready and second.is_ready, _WAIT_S)
        self._pause(2.0 + fault.duration_s)
        joined = [slot.name for slot in (first, second) if slot.is_ready]
        first.down(signal.SIGTERM)
        self._pause(fault.duration_s / 8)
        second.down(signal.SIGTERM)
        return f"{BOTH_JOINED if len(joined) == len(names) else len(joined)} of {', '.join(names)} joined"

    def _fill(self, slot: Slot, fault: Fault) -> str:
        wound = Wound(slot.name, str(fault.kind), time.time(), math.inf)
        self.wounds.append(wound)
        written, exits = _size(slot.log), len(slot.exits)

        def said() -> bool:
            return _FULL.search(slot.log.read_bytes()[written:].decode(errors="replace")) is not None

        def ended() -> bool:
            return any(exit_.worker == slot.name for exit_ in slot.exits[exits:])

        slot.fill_disk()
        self._pause(fault.duration_s)
        _met(lambda: said() or ended() or self._stop.is_set(), _MET_S)
        slot.free_disk()
        wound.ended = time.time()
        return "; ".join([*(["no space, it said"] if said() else []), *(["it ended"] if ended() else [])]) or NOT_MET

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
        files = _wait_for(lambda: _files(slot), "no file of a database yet")
        database = rng.choice(sorted(files))
        path = rng.choice(files[database])
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


def _wait_for(look: Callable[[], T], otherwise: str) -> T:
    """Return what is found in time, and raises ``_LeftOutError`` where nothing is."""
    found: list[T] = []

    def looked() -> bool:
        found[:] = [look()]
        return bool(found[0])

    if not _met(looked, _WAIT_S):
        raise _LeftOutError(otherwise)
    return found[0]


def _met(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait for a condition; returns whether it was met within that many seconds."""
    deadline = time.monotonic() + within_s
    while not (is_met := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return is_met


def _files(slot: Slot) -> dict[Path, list[Path]]:
    """Return what of a worker's databases can be damaged, by database."""
    found = {
        database: [path for pattern in _CORRUPTIBLE for path in sorted(database.glob(pattern)) if _size(path) > 0]
        for database in slot.folder.glob("v*/tables/*.db")
    }
    return {database: files for database, files in found.items() if files}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
