"""A worker's monitor: pulse, watchdogs and endpoint, begun and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.monitoring import catalog, health
from streams.monitoring.collector import described, worker_metrics
from streams.monitoring.hard_exit import HardExit
from streams.monitoring.health import Report
from streams.monitoring.pulse import LoopWatch, Pulse
from streams.monitoring.samples import filled, simple
from streams.monitoring.server import MonitoringServer
from streams.monitoring.snapshot import Snapshot, take_snapshot
from streams.watchdog import Watchdog

if TYPE_CHECKING:
    from streams.worker import Worker

#: How long the endpoint waits for the event loop; then it shows what it saw last.
_SNAPSHOT_S: Final = 1.0


class Monitor(Collector):
    """Looks at a worker from beside it."""

    def __init__(self, worker: Worker, collectors: Iterable[Collector]) -> None:
        """Take the worker, on its loop, before it is built, and further collectors for its endpoint.

        Raises:
            SettingsError: The endpoint's address cannot be had.
        """
        self._worker = worker
        self._options = worker.options.watchdog
        self._version = version("barnabas")
        self._loop = asyncio.get_running_loop()
        self._snapshot: Snapshot | None = None
        self._watchdog: Watchdog | None = None
        self.exit = HardExit()
        self._pulse = Pulse(worker.figures.loop_delay)
        self._loop_watch = LoopWatch(
            self._pulse,
            bound_s=self._options.loop_block_s,
            slack_s=self._options.slack_s,
            on_blocked=self._loop_blocked,
        )
        self._server = self._listen(collectors)

    def _listen(self, collectors: Iterable[Collector]) -> MonitoringServer | None:
        options = self._worker.options.monitoring
        if not options.enabled:
            return None
        registry = CollectorRegistry()
        for collector in (self, *collectors):
            registry.register(collector)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        return MonitoringServer(
            options.host,
            options.port,
            registry=registry,
            health=lambda: self._answer("alive", self.health()),
            readiness=lambda: self._answer("ready", self.readiness()),
        )

    @property
    def url(self) -> str | None:
        """Where the endpoint is, such as ``http://127.0.0.1:9464``; None where it is switched off."""
        return self._server.url if self._server is not None else None

    @property
    def metrics_url(self) -> str | None:
        """Where Prometheus reads; None where the endpoint is switched off."""
        return f"{self.url}/metrics" if self.url is not None else None

    def start(self) -> None:
        """Begin, once the worker is built."""
        self._watchdog = Watchdog(self._worker.env, self._worker.ownership, slack_s=self._options.slack_s)
        self._pulse.start()
        self._loop_watch.start()
        if self._server is not None:
            self._server.start()

    def close(self) -> None:
        """End; blocks for a moment."""
        self._pulse.stop()
        self._loop_watch.close()
        if self._server is not None:
            self._server.close()
        self.exit.cancel()

    # -- Asked by the worker, on its loop

    def stuck(self) -> str | None:
        """Return what is stuck, None while all is well; the process has a bounded time to end from then on."""
        stuck = self._watchdog.stuck() if self._watchdog is not None else None
        if stuck is not None:
            self.exit.within(self._options.end_s, f"{stuck}; the worker did not end")
        return stuck

    def _loop_blocked(self, seconds: float, thread: int) -> None:
        self.exit.now(f"the event loop is blocked for {seconds:.1f} s", thread=thread)

    # -- Asked by the endpoint, on its threads

    def health(self) -> Report:
        """Say whether the worker is alive."""
        return health.alive(
            self._watchdog.findings if self._watchdog is not None else (),
            blocked_s=self._loop_watch.blocked_s,
            loop_block_s=self._options.loop_block_s,
            failure=self._worker.failure,
        )

    def readiness(self) -> Report:
        """Say whether the worker is ready."""
        ownership = self._worker.ownership
        return health.ready(
            {partition.number: partition.phase for partition in [*ownership.partitions.values()]},
            is_draining=ownership.draining,
            is_assigned=ownership.generation >= 0,
            is_settled=ownership.is_settled,
            is_lease_over=self._worker.env.lease.is_over,
        )

    def _answer(self, good: str, report: Report) -> tuple[bool, dict[str, Any]]:
        status = good if report.is_good else f"not {good}"
        return report.is_good, {"status": status, "worker": self._worker.name, "problems": report.problems}

    def describe(self) -> Iterator[Metric]:
        """Yield the catalog: nothing is looked at before somebody asks."""
        return described()

    def collect(self) -> Iterator[Metric]:
        """Yield the worker's metrics."""
        worker = self._worker
        yield filled(catalog.WORKER, [((worker.name, worker.options.prefix, self._version), 1)])
        yield simple(catalog.HEALTHY, self.health().is_good)
        yield simple(catalog.READY, self.readiness().is_good)
        yield simple(catalog.TURNS_MAX, worker.options.limits.max_turns)
        yield simple(catalog.LOOP_BLOCKED, self._loop_watch.blocked_s)
        yield from worker_metrics(worker.figures, self._looked())

    def _looked(self) -> Snapshot | None:
        """Look at the worker from its own loop; where that does not answer, return what was seen last."""
        seen: Future[Snapshot] = Future()

        def look() -> None:
            if seen.set_running_or_notify_cancel():
                try:
                    seen.set_result(self.take())
                except Exception as error:  # noqa: BLE001 -- handed on
                    seen.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(look)
            self._snapshot = seen.result(_SNAPSHOT_S)
        except (NotInTime, CancelledError, RuntimeError):  # blocked, or closed
            seen.cancel()
        return self._snapshot

    def take(self) -> Snapshot:
        """Look at the worker; on its event loop."""
        worker = self._worker
        return take_snapshot(
            worker.env,
            worker.ownership,
            worker.consumer,
            worker.store,
            recovery=worker.recovery.progress,
            standby_lag=worker.standbys.lag,
            admission_limit=worker.pressure.limit.value,
        )
