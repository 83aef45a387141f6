"""A worker process: the composition root builds every part once, runs it, and ends it in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from prometheus_client.registry import Collector

from schemas.errors import BarnabasError, WorkerStuckError
from schemas.record_types import DEAD_LETTERS, EVENTS, TOKENS
from schemas.serdes import Codec
from state.changelog import ChangelogReader
from state.recovery import Recovery
from state.repair import Repair
from state.standby import Standbys
from state.store import SessionStore
from state.value import ValueCodec
from state.write_path import WritePath
from streams.agent import Agents
from streams.app import BarnabasApp, Wiring, bind_agents, create_app
from streams.calls import Calls
from streams.consumer import SessionConsumer
from streams.credentials import group_credentials
from streams.data_folder import DataFolder
from streams.dead_letters import DeadLetters
from streams.environment import Environment
from streams.intake import Intake
from streams.lease import Lease
from streams.monitoring.figures import Figures
from streams.monitoring.monitor import Monitor
from streams.ownership import Ownership
from streams.partition import Phase
from streams.pool import TurnPool
from streams.pressure import BackPressure
from streams.producer import RecordProducer
from streams.projector import Projector
from streams.publisher import Publisher
from streams.reading.recent import RecentFigures
from streams.reading.server import ReadServer
from streams.reading.table_reads import TableReads
from streams.reading.worker_figures import worker_figures
from streams.tool_runner import ToolRunner
from streams.tracing import NO_TRACING, Tracing
from streams.worker_options import WorkerOptions
from topics.names import TopicNames

logger = logging.getLogger(__name__)

_WATCH_S: Final = 0.05
_DRAIN_POLL_S: Final = 0.01

#: How long the last records may take to be confirmed, in seconds.
_FLUSH_S: Final = 5.0

#: Longest time Faust may take to stop, in seconds.
_STOP_S: Final = 30.0

#: Longest time the end may take beyond the drain, in seconds: flush, Faust's stop, the store.
_END_S: Final = 60.0


class Worker:
    """Runs until a signal, a crash, or :meth:`stop`."""

    def __init__(
        self,
        options: WorkerOptions,
        agents: Agents,
        *,
        on_ready: Callable[[Worker], None] | None = None,
        collectors: Iterable[Collector] = (),
        tracing: Tracing = NO_TRACING,
    ) -> None:
        """Take the options; ``on_ready`` is called once partitions are recovered and models are warm.

        ``collectors`` are shown at ``/metrics`` beside the worker's own figures.
        """
        self.options = options
        self.names = TopicNames(options.prefix)
        self._agents = agents
        self._on_ready = on_ready
        self._collectors = collectors
        self._stop = asyncio.Event()
        self.figures = Figures()
        self.tracing = tracing
        #: Why it ends, None while it does not or was asked to.
        self.failure: BaseException | None = None
        self.folder = DataFolder(options.data_dir, options.name)
        #: Answers gateways; None where it is switched off.
        self.reads: ReadServer | None = None
        self.recent = RecentFigures(self.figures)
        #: Unique in the deployment, also when two machines have a ``worker-1``.
        self.name = options.name or f"{socket.gethostname()}-{self.folder.name}"

    def stop(self) -> None:
        """End the worker in order."""
        self._stop.set()

    async def run(self) -> int:
        """Run; returns the process's exit code: 0 after a stop, 1 after a failure.

        Raises:
            BarnabasError: It could not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self.monitor = Monitor(self, self._collectors)
        try:
            self._listen()
            producer = self._build()
        except BaseException:
            self.monitor.close()
            await self._close_reads()
            raise
        self.monitor.start()
        watch = asyncio.create_task(self._watch())
        watch.add_done_callback(self._watch_ended)
        try:
            await asyncio.to_thread(self._warm_codec)
            await self._agents.warm()
            await self._answer_reads()
            await self._until_stopped(self.app.start())
            if not self._stop.is_set() and not self.app.crashed:
                await self._until_stopped(self._opened())
            if not self._stop.is_set() and not self.app.crashed:
                with _relaxed_garbage_collection():
                    if self._on_ready is not None:
                        self._on_ready(self)
                    await self._until_stopped(self._ended())
        finally:
            self.monitor.exit.within(self.options.limits.drain_timeout_s + _END_S, "the worker did not end")
            await self._end(watch, producer)
            await asyncio.to_thread(self.monitor.close)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        if self.failure is not None:
            logger.error("the worker failed: %s", self.failure)
            if isinstance(self.failure, BarnabasError):
                raise self.failure
            return 1
        return 0

    # -- Building

    def _build(self) -> RecordProducer:
        options, names = self.options, self.names
        client_config = {"bootstrap.servers": options.bootstrap_servers, **options.client_config}
        codec = Codec(registry_url=options.registry_url)
        lease = Lease(options.consumer.session_timeout_s, options.consumer.rebalance_timeout_s)
        producer = RecordProducer(
            {"client.id": self.name, **client_config}, may_write=lambda: not lease.is_over, on_fatal=self._fail
        )
        publisher = Publisher(producer, codec, names, source=f"/{options.prefix}/{self.name}")
        app, table = create_app(
            names=names,
            bootstrap_servers=options.bootstrap_servers,
            partitions=options.partitions,
            data_dir=self.folder.path,
            worker=self.name,
            consumer=options.consumer,
            store=options.store,
            standby_replicas=options.standby_replicas,
            reads_url=self.reads.url if self.reads is not None else None,
            credentials=group_credentials(options.client_config),
        )
        # Whatever lies on this disk is best owned, or kept, here.
        app.assignor.remember(table.store.on_disk(), (names.messages, names.control, names.events, names.changelog))
        reader = ChangelogReader(names.changelog, client_config)
        repair = Repair(reader)
        write_path = WritePath(
            table.store,
            ValueCodec(codec),
            publisher.changelog,
            on_foreign_record=repair.hole_found,
            on_store_failure=self._fail,
            on_closed=repair.drop,
            may_write=lambda: not lease.is_over,
        )
        repair.attach(write_path)
        self._repair = repair
        calls = Calls()
        env = Environment(
            worker=self.name,
            partitions=options.partitions,
            names=names,
            codec=codec,
            publisher=publisher,
            write_path=write_path,
            agents=self._agents,
            pool=TurnPool(max_turns=options.limits.max_turns),
            lease=lease,
            fail=self._fail,
            limits=options.limits,
            calls=calls,
            tools=ToolRunner(calls),
            figures=self.figures,
            tracing=self.tracing,
        )
        self.env = env
        self.ownership = Ownership(env)
        self.pressure = BackPressure(
            env, lambda: self.ownership.lanes_at_work, self.ownership.is_open, self.ownership.waits_for_slot
        )
        self.recovery = Recovery(table.store, reader, deadline_s=options.limits.recovery_timeout_s)
        self.standbys = Standbys(table.store, reader)
        app.barnabas = Wiring(
            names=names,
            lease=lease,
            ownership=self.ownership,
            recovery=self.recovery,
            pressure=self.pressure,
            standbys=self.standbys,
            fail=self._fail,
        )
        self.ownership.attach(lambda: app.consumer)
        dead_letters = DeadLetters(env)
        bind_agents(
            app,
            names,
            intake=Intake(env, self.ownership, dead_letters),
            projector=Projector(env, self.ownership, dead_letters),
            pressure=self.pressure,
        )
        self.app: BarnabasApp = app
        self.store: SessionStore = table.store
        return producer

    @property
    def consumer(self) -> SessionConsumer | None:
        """Faust's consumer, None before it is made."""
        return self.app._consumer  # type: ignore[no-any-return]

    def _warm_codec(self) -> None:
        """Load what will be written, and register it where there is a registry: later nothing blocks the loop."""
        names, codec = self.names, self.env.codec
        for topic, types in ((names.events, EVENTS), (names.tokens, TOKENS), (names.dead_letters, DEAD_LETTERS)):
            codec.warm(types, topic=topic)

    # -- Answering gateways

    def _listen(self) -> None:
        options = self.options
        if options.reads.enabled:
            self.reads = ReadServer(options.reads, worker=self.name, prefix=options.prefix)

    async def _answer_reads(self) -> None:
        """Answer before the group hears where: what is not open yet is refused."""
        self.recent.start()
        if self.reads is not None:
            reads = TableReads(self.env, self.ownership, lambda: self.consumer)
            await self.reads.start(reads, partial(worker_figures, self, self.recent))

    async def _close_reads(self) -> None:
        self.recent.stop()
        if self.reads is not None:
            await self.reads.close()

    # -- Running

    async def _until_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            if task.exception() is not None:
                self.failure = task.exception()
        else:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        if self.app.crashed:
            self.failure = self.app.crash_reason or self.failure

    async def _opened(self) -> None:
        """Wait until every owned partition is behind its barrier."""
        ownership = self.ownership
        while not self.app.crashed and not (  # noqa: ASYNC110 -- many small conditions
            ownership.is_settled and all(p.phase in {Phase.OPEN, Phase.STOPPED} for p in ownership.partitions.values())
        ):
            await asyncio.sleep(_WATCH_S / 5)

    async def _ended(self) -> None:
        """Wait for Faust to end by itself, which is a failure."""
        ends = [asyncio.create_task(event.wait()) for event in (self.app._crashed, self.app._stopped)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    def _fail(self, error: BaseException) -> None:
        """End the worker: what is wrong is cured by another start, or by a person."""
        if self.failure is None:
            self.failure = error
            self._stop.set()

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        """Nothing goes on unwatched."""
        if not watch.cancelled() and (error := watch.exception()) is not None:
            self._fail(error)

    async def _watch(self) -> None:
        """Release back-pressure, notice when the lease is over, end when nothing moves any more."""
        while True:
            await asyncio.sleep(_WATCH_S)
            stuck = self.monitor.stuck() if not self.ownership.draining else None
            if stuck is not None:
                self._fail(WorkerStuckError(f"{stuck}; the worker ends so that another can go on"))
            if self.env.lease.is_over:
                self.ownership.lapse()
            self.pressure.sample()
            if self.app._consumer is not None:
                self.pressure.update(
                    self.ownership.consumer, draining=self.ownership.draining, stopped=self.ownership.stopped_tps()
                )

    # -- Ending

    async def _end(self, watch: asyncio.Task[None], producer: RecordProducer) -> None:
        """Finish running turns within the deadline, commit what is done, leave the group."""
        self.ownership.draining = True
        began, flush_s = time.monotonic(), _FLUSH_S
        if self.failure is None:
            await self._drain()
        watch.cancel()
        drained_s = time.monotonic() - began
        unfinished = {number for number, partition in self.ownership.partitions.items() if partition.messages_begun}
        for partition in self.ownership.partitions.values():
            partition.close()  # what is left writes nothing more
        if self.failure is None:
            self.env.write_path.flush_all()
            if await producer.flush(flush_s):
                flush_s = 0.0  # no broker answers: do not wait for it twice
            await self._acknowledged(unfinished)
        await self._stop_faust(began, drained_s)
        await self._close_reads()
        self.ownership.close()
        self._repair.close()
        await producer.close(flush_s)
        await self.store.stop()
        await self._agents.close()
        await asyncio.to_thread(self.tracing.close)
        self.folder.release()

    async def _stop_faust(self, began: float, drained_s: float) -> None:
        """Leave the group. A consumer thread that hangs must not keep the process, and with it the partitions."""
        try:
            async with asyncio.timeout(_STOP_S):
                await self._leave(began, drained_s)
                await self.standbys.close()  # before Faust closes the store
                await self.app.stop()
        except TimeoutError:
            logger.critical("the consumer does not stop: the process ends")
            os._exit(1)
        except Exception:
            logger.exception("Faust did not stop cleanly")

    async def _leave(self, began: float, drained_s: float) -> None:
        """Leave before Faust stops, which takes a while; where it fails Faust's stop tries again."""
        if self.app._consumer is None or self.ownership.generation < 0:
            return
        try:
            await self.ownership.consumer.leave()
        except Exception:
            logger.exception("the group was not left in order")
        else:
            took_s = time.monotonic() - began
            logger.info("left the group after %.2f s, %.2f s of them for running turns", took_s, drained_s)

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.options.limits.drain_timeout_s
        while self.ownership.messages_begun and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 -- nothing to signal
            await asyncio.sleep(_DRAIN_POLL_S)
        if self.ownership.messages_begun:
            logger.warning("%d messages are left to the next owner", self.ownership.messages_begun)

    async def _acknowledged(self, unfinished: set[int]) -> None:
        """Give the last receipts a moment, so that what is done is committed; ``unfinished`` partitions never are."""
        deadline = asyncio.get_running_loop().time() + 1.0
        cursors = self.ownership.consumer.cursors if self.app._consumer is not None else {}
        while any(cursor.acks.pending for tp, cursor in cursors.items() if tp.partition not in unfinished):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.01)


@contextmanager
def _relaxed_garbage_collection() -> Iterator[None]:
    """Take what was built at start out of the collector's sight, and have it look less often, while the worker runs.

    A thousand running turns are a hundred thousand live objects without a cycle among them; with Python's defaults
    the collector's passes over them are a third of a turn's CPU (444 against 280 us, benchmarks/README.md). What is
    frozen and dead is never freed: a worker is full of cycles, and one that ended would stay, 3 MB each.
    """
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
