"""All of Barnabas on this machine: broker, topics and workers, started, watched and stopped in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from barnabas.composition import build_agents, topic_specs
from barnabas.settings import Settings
from barnabas.worker_process import WorkerProcess
from infra.broker import Broker
from schemas.errors import OperatorError
from topics.admin import ensure_topics

#: Beyond the longest recovery: start, join the group, open the partitions.
READY_MARGIN_S: Final = 60.0
_POLL_S: Final = 0.05
#: Before a worker that failed is started again: doubled each time, and back to the first after a quiet minute.
_FIRST_BACKOFF_S: Final = 1.0
_LAST_BACKOFF_S: Final = 30.0
_QUIET_S: Final = 60.0
#: Beyond a worker's own drain deadline: flush, leave the group, close the store.
_STOP_MARGIN_S: Final = 15.0


@dataclass(slots=True)
class _Slot:
    """One of the workers that are to run."""

    number: int
    worker: WorkerProcess | None
    backoff_s: float = _FIRST_BACKOFF_S
    start_at: float = 0.0


class Deployment:
    """Broker (unless one is named), topics and workers; a context manager that stops what it started.

    Args:
        settings: The environment that child processes inherit must say the same.
        workers: How many.
        say: Told what happens, in lines for people.
        arguments: Global options for the workers' command line.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        say: Callable[[str], None] = lambda _: None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings
        self._count = workers
        self._say = say
        self._arguments = arguments
        self._broker: Broker | None = None
        self._slots: list[_Slot] = []
        self._is_stopping = False
        self.bootstrap_servers = ""

    @property
    def pids(self) -> dict[str, object]:
        """Return the broker's pid (None where it is not ours) and the workers'."""
        state = self._broker.status() if self._broker is not None else None
        workers = [slot.worker.pid for slot in self._slots if slot.worker is not None]
        return {"broker": state.pid if state else None, "workers": workers}

    @property
    def metrics(self) -> list[str]:
        """Return where each running worker's metrics are; a worker that was started again may be elsewhere."""
        ready = [slot.worker.ready for slot in self._slots if slot.worker is not None]
        return [line["metrics"] for line in ready if line is not None and line.get("metrics")]

    def start(self) -> None:
        """Start everything and wait until all workers are ready.

        Raises:
            BarnabasError: Something did not start; the text says what to do.
        """
        build_agents(self._settings)  # a wrong model is refused before anything runs
        if self._settings.bootstrap_servers is None:
            self._broker = Broker(self._settings.broker_dir, stops_with_parent=True)
            self.bootstrap_servers = self._broker.start().bootstrap_servers
        else:
            self.bootstrap_servers = self._settings.bootstrap_servers
        ensure_topics(self.bootstrap_servers, topic_specs(self._settings), client_config=self._settings.kafka)
        for number in range(1, self._count + 1):
            self._slots.append(_Slot(number, self._start_worker(number)))
        ready_s = self._settings.limits.recovery_timeout_s + READY_MARGIN_S
        deadline = time.monotonic() + ready_s
        for slot in self._slots:
            while slot.worker is not None and not slot.worker.poll_ready():
                if time.monotonic() > deadline:
                    raise OperatorError(f"a worker is not ready after {ready_s:g} s; look at {slot.worker.log}")
                time.sleep(_POLL_S)

    def watch(self) -> None:
        """Look after broker and workers once: what failed is started again, a worker after a pause."""
        if self._broker is not None and self._broker.status() is None:
            self._say("the broker ended; starting it again")
            self._broker.start()
        now = time.monotonic()
        for slot in self._slots:
            worker = slot.worker
            if worker is None:
                if slot.start_at and now >= slot.start_at:
                    slot.worker, slot.start_at = self._start_worker(slot.number), 0.0
            elif not worker.is_running:
                self._ended(slot, worker, now)

    @property
    def is_idle(self) -> bool:
        """Whether no worker runs or is going to."""
        return all(slot.worker is None and not slot.start_at for slot in self._slots)

    def stop(self) -> None:
        """Stop the workers, which finish their turns first, then the broker. Repeatable."""
        if self._is_stopping:
            return
        self._is_stopping = True
        workers = [slot.worker for slot in self._slots if slot.worker is not None]
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.end(self._settings.limits.drain_timeout_s + _STOP_MARGIN_S)
        if self._broker is not None and self._broker.is_ours:
            self._broker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_worker(self, number: int) -> WorkerProcess:
        base = self._settings.monitoring.port
        options = ("--monitoring-port", str(base + number - 1)) if base else ()
        return WorkerProcess(self._settings.data_dir / "logs" / f"worker-{number}.log", self._arguments, options)

    def _ended(self, slot: _Slot, worker: WorkerProcess, now: float) -> None:
        why = worker.last_words()
        code = worker.end(0)
        slot.worker = None
        if code == 0:
            self._say(f"worker {worker.pid} was stopped from outside")
            return
        if now - worker.started_at > _QUIET_S:
            slot.backoff_s = _FIRST_BACKOFF_S
        slot.start_at = now + slot.backoff_s
        self._say(f"worker {worker.pid} failed; starting it again in {slot.backoff_s:g} s ({why})")
        slot.backoff_s = min(_LAST_BACKOFF_S, slot.backoff_s * 2)
