"""All of Barnabas on this machine: broker, topics, workers and gateway, started, watched and stopped in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from barnabas.composition import build_agents, topic_specs
from barnabas.gateway.security.exposure import check_certificate, check_exposure, warnings_of
from barnabas.service_process import ServiceProcess
from barnabas.settings import Settings
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
    """One of the processes that are to run."""

    command: str
    start: Callable[[], ServiceProcess]
    process: ServiceProcess | None = None
    backoff_s: float = _FIRST_BACKOFF_S
    start_at: float = 0.0


class Deployment:
    """Broker (unless one is named), topics, workers and gateway; a context manager that stops what it started.

    Args:
        settings: The environment that child processes inherit must say the same.
        workers: How many.
        with_gateway: Whether to run a gateway beside them.
        say: Told what happens, in lines for people.
        arguments: Global options for the child processes' command line.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        with_gateway: bool = False,
        say: Callable[[str], None] = lambda _: None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self._settings = settings
        self._say = say
        self._arguments = arguments
        self._broker: Broker | None = None
        self._workers = [_Slot("worker", partial(self._start_worker, number)) for number in range(1, workers + 1)]
        self._gateway = _Slot("gateway", self._start_gateway) if with_gateway else None
        self._gateway_url: str | None = None
        self._is_stopping = False
        self.bootstrap_servers = ""

    @property
    def pids(self) -> dict[str, object]:
        """Return the broker's pid (None where it is not ours), the workers', and the gateway's."""
        state = self._broker.status() if self._broker is not None else None
        workers = [slot.process.pid for slot in self._workers if slot.process is not None]
        gateway = self._gateway.process if self._gateway is not None else None
        return {"broker": state.pid if state else None, "workers": workers, "gateway": gateway.pid if gateway else None}

    @property
    def metrics(self) -> list[str]:
        """Return where each running worker's metrics are; a worker that was started again may be elsewhere."""
        ready = [slot.process.ready for slot in self._workers if slot.process is not None]
        return [line["metrics"] for line in ready if line is not None and line.get("metrics")]

    @property
    def gateway(self) -> str | None:
        """Return the gateway's address, which it keeps when it is started again; None where none runs."""
        return self._gateway_url

    def start(self) -> None:
        """Start everything and wait until all of it is ready.

        Raises:
            BarnabasError: Something did not start; the text says what to do.
        """
        build_agents(self._settings)  # a wrong model is refused before anything runs
        if self._gateway is not None:
            check_exposure(self._settings)
            check_certificate(self._settings)
            for warning in warnings_of(self._settings):
                self._say(f"warning: {warning}")
        if self._settings.bootstrap_servers is None:
            self._broker = Broker(self._settings.broker_dir, stops_with_parent=True)
            self.bootstrap_servers = self._broker.start().bootstrap_servers
        else:
            self.bootstrap_servers = self._settings.bootstrap_servers
        ensure_topics(self.bootstrap_servers, topic_specs(self._settings), client_config=self._settings.kafka)
        for slot in self._slots:
            slot.process = slot.start()
        ready_s = self._settings.limits.recovery_timeout_s + READY_MARGIN_S
        deadline = time.monotonic() + ready_s
        for slot in self._slots:
            while slot.process is not None and not slot.process.poll_ready():
                if time.monotonic() > deadline:
                    raise OperatorError(
                        f"a {slot.command} is not ready after {ready_s:g} s; look at {slot.process.log}"
                    )
                time.sleep(_POLL_S)
        if self._gateway is not None and self._gateway.process is not None and self._gateway.process.ready is not None:
            self._gateway_url = str(self._gateway.process.ready["gateway"])

    @property
    def _slots(self) -> list[_Slot]:
        return [*self._workers, *([self._gateway] if self._gateway is not None else [])]

    def watch(self) -> None:
        """Look after all of it once: what failed is started again, a worker or the gateway after a pause."""
        if self._broker is not None and self._broker.status() is None:
            self._say("the broker ended; starting it again")
            self._broker.start()
        now = time.monotonic()
        for slot in self._slots:
            process = slot.process
            if process is None:
                if slot.start_at and now >= slot.start_at:
                    slot.process, slot.start_at = slot.start(), 0.0
            elif not process.is_running:
                self._ended(slot, process, now)

    @property
    def is_idle(self) -> bool:
        """Whether no worker runs or is going to."""
        return all(slot.process is None and not slot.start_at for slot in self._workers)

    def stop(self) -> None:
        """Stop the gateway, the workers, which finish their turns first, then the broker. Repeatable."""
        if self._is_stopping:
            return
        self._is_stopping = True
        limits, options = self._settings.limits, self._settings.gateway
        # The gateway first: answers that it passes on are still being written.
        for slots, patience_s in (
            ([self._gateway] if self._gateway is not None else [], options.drain_timeout_s),
            (self._workers, limits.drain_timeout_s),
        ):
            processes = [slot.process for slot in slots if slot.process is not None]
            for process in processes:
                process.terminate()
            for process in processes:
                process.end(patience_s + _STOP_MARGIN_S)
        if self._broker is not None and self._broker.is_ours:
            self._broker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_worker(self, number: int) -> ServiceProcess:
        ports = {"--monitoring-port": self._settings.monitoring.port, "--reads-port": self._settings.reads.port}
        options = tuple(word for name, base in ports.items() if base for word in (name, str(base + number - 1)))
        return ServiceProcess("worker", self._logs / f"worker-{number}.log", self._arguments, options)

    def _start_gateway(self) -> ServiceProcess:
        # Clients know the first one's address, even where it was a free port.
        port = urlsplit(self._gateway_url).port if self._gateway_url is not None else None
        options = ("--port", str(port)) if port is not None else ()
        return ServiceProcess("gateway", self._logs / "gateway.log", self._arguments, options)

    @property
    def _logs(self) -> Path:
        return self._settings.data_dir / "logs"

    def _ended(self, slot: _Slot, process: ServiceProcess, now: float) -> None:
        why = process.last_words()
        code = process.end(0)
        slot.process = None
        if code == 0:
            self._say(f"{slot.command} {process.pid} was stopped from outside")
            return
        if now - process.started_at > _QUIET_S:
            slot.backoff_s = _FIRST_BACKOFF_S
        slot.start_at = now + slot.backoff_s
        self._say(f"{slot.command} {process.pid} failed; starting it again in {slot.backoff_s:g} s ({why})")
        slot.backoff_s = min(_LAST_BACKOFF_S, slot.backoff_s * 2)
