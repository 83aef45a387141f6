"""A worker process: the composition root builds every part once, runs it, and ends it in order."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.errors import BarnabasError, StoreError, WorkerStuckError
from schemas.record_types import DEAD_LETTERS, EVENTS, TOKENS
from schemas.serdes import Codec
from state.changelog import ChangelogReader
from state.options import StoreOptions
from state.recovery import Recovery
from state.repair import Repair
from state.value import ValueCodec
from state.write_path import WritePath
from streams.agent import Agents
from streams.app import BarnabasApp, Wiring, bind_agents, create_app
from streams.dead_letters import DeadLetters
from streams.environment import Environment
from streams.intake import Intake
from streams.lease import Lease
from streams.options import ConsumerOptions, Limits
from streams.ownership import Ownership
from streams.partition import Phase
from streams.pool import TurnPool
from streams.pressure import BackPressure
from streams.producer import RecordProducer
from streams.projector import Projector
from streams.publisher import Publisher
from streams.watchdog import Watchdog
from topics.names import TopicNames

logger = logging.getLogger(__name__)

_WATCH_S: Final = 0.05

#: Longest time Faust may take to stop, in seconds.
_STOP_S: Final = 30.0
_MAX_WORKERS_A_HOST: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker needs to know; settings build it.

    Attributes:
        bootstrap_servers: ``host:port`` list, comma separated.
        data_dir: The deployment's data folder on this machine; each worker has one below it.
        prefix: Of the deployment's topics.
        partitions: N of every topic, fixed for the deployment.
        name: The worker's name; the first free ``worker-N`` of this machine where empty.
        registry_url: Confluent schema registry, None for single-object Avro.
        client_config: Further librdkafka settings (TLS, SASL).
    """

    bootstrap_servers: str
    data_dir: Path
    prefix: str = "barnabas"
    partitions: int = 16
    name: str = ""
    registry_url: str | None = None
    client_config: Mapping[str, object] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    consumer: ConsumerOptions = field(default_factory=ConsumerOptions)
    store: StoreOptions = field(default_factory=StoreOptions)


class DataFolder:
    """A worker's own folder, locked for as long as it runs (T3: one folder a worker)."""

    def __init__(self, data_dir: Path, name: str) -> None:
        """Lock the named folder, or the first free one.

        Raises:
            StoreError: Another worker holds it.
        """
        names = [name] if name else [f"worker-{number}" for number in range(1, _MAX_WORKERS_A_HOST + 1)]
        for candidate in names:
            path = data_dir / "workers" / candidate
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self.path, self.name, self._lock = path, candidate, lock
            return
        msg = f"{data_dir / 'workers' / names[0]} is in use by another worker; give this one another --name"
        raise StoreError(msg)

    def release(self) -> None:
        """Unlock it."""
        os.close(self._lock)


class Worker:
    """Runs until a signal, a crash, or :meth:`stop`."""

    def __init__(
        self, options: WorkerOptions, agents: Agents, *, on_ready: Callable[[Worker], None] | None = None
    ) -> None:
        """Take the options; ``on_ready`` is called once partitions are recovered and models are warm."""
        self.options = options
        self.names = TopicNames(options.prefix)
        self._agents = agents
        self._on_ready = on_ready
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self.folder = DataFolder(options.data_dir, options.name)
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
        producer = self._build()
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.to_thread(self._warm_codec)
            await self._agents.warm()
            await self._until_stopped(self.app.start())
            if not self._stop.is_set() and not self.app.crashed:
                await self._until_stopped(self._opened())
            if not self._stop.is_set() and not self.app.crashed:
                _relax_garbage_collection()
                if self._on_ready is not None:
                    self._on_ready(self)
                await self._until_stopped(self._ended())
        finally:
            await self._end(watch, producer)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        if self._failure is not None:
            logger.error("the worker failed: %s", self._failure)
            if isinstance(self._failure, BarnabasError):
                raise self._failure
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
        )
        reader = ChangelogReader(names.changelog, client_config)
        repair = Repair(reader)
        write_path = WritePath(
            table.store,
            ValueCodec(codec),
            publisher.changelog,
            on_foreign_record=repair.hole_found,
            on_store_failure=self._fail,
        )
        repair.attach(write_path)
        env = Environment(
            worker=self.name,
            partitions=options.partitions,
            names=names,
            codec=codec,
            publisher=publisher,
            write_path=write_path,
            agents=self._agents,
            pool=TurnPool(max_turns=options.limits.max_turns, pool_timeout_s=options.limits.pool_timeout_s),
            lease=lease,
            fail=self._fail,
            limits=options.limits,
        )
        self.env = env
        self.ownership = Ownership(env)
        recovery = Recovery(table.store, reader, deadline_s=options.limits.recovery_timeout_s)
        app.barnabas = Wiring(names=names, lease=lease, ownership=self.ownership, recovery=recovery)
        self.ownership.attach(lambda: app.consumer)
        dead_letters = DeadLetters(env)
        self._pressure = BackPressure(env)
        bind_agents(
            app,
            names,
            intake=Intake(env, self.ownership, dead_letters),
            projector=Projector(env, self.ownership, dead_letters),
            pressure=self._pressure,
        )
        self.app: BarnabasApp = app
        self._table = table
        return producer

    def _warm_codec(self) -> None:
        """Load what will be written, and register it where there is a registry: later nothing blocks the loop."""
        names, codec = self.names, self.env.codec
        for topic, types in ((names.events, EVENTS), (names.tokens, TOKENS), (names.dead_letters, DEAD_LETTERS)):
            codec.warm(types, topic=topic)

    # -- Running

    async def _until_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            if task.exception() is not None:
                self._failure = task.exception()
        else:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        if self.app.crashed:
            self._failure = self.app.crash_reason or self._failure

    async def _opened(self) -> None:
        """Wait until every owned partition is behind its barrier."""
        ownership = self.ownership
        while not ownership.is_settled or not all(  # noqa: ASYNC110 -- many small conditions
            p.phase in {Phase.OPEN, Phase.STOPPED} for p in ownership.partitions.values()
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
        if self._failure is None:
            self._failure = error
            self._stop.set()

    async def _watch(self) -> None:
        """Release back-pressure, notice when the lease is over, end when nothing moves any more."""
        watchdog = Watchdog(self.env, self.ownership)
        while True:
            await asyncio.sleep(_WATCH_S)
            stuck = watchdog.stuck() if not self.ownership.draining else None
            if stuck is not None:
                self._fail(WorkerStuckError(f"{stuck}; the worker ends so that another can go on"))
            if self.env.lease.is_over:
                self.ownership.lapse()
            if self.app._consumer is not None:
                self._pressure.update(
                    self.ownership.consumer, draining=self.ownership.draining, stopped=self.ownership.stopped_tps()
                )

    # -- Ending

    async def _end(self, watch: asyncio.Task[None], producer: RecordProducer) -> None:
        """Finish running turns within the deadline, commit what is done, leave the group."""
        self.ownership.draining = True
        if self._failure is None:
            await self._drain()
        watch.cancel()
        for partition in self.ownership.partitions.values():
            partition.close()  # what is left writes nothing more
        if self._failure is None:
            self.env.write_path.flush_all()
            await producer.flush(5.0)
            await self._acknowledged()
        await self._stop_faust()
        self.ownership.close()
        await producer.close()
        await self._table.store.stop()
        await self._agents.close()
        self.folder.release()

    async def _stop_faust(self) -> None:
        """Leave the group. A consumer thread that hangs must not keep the process, and with it the partitions."""
        try:
            async with asyncio.timeout(_STOP_S):
                await self.app.stop()
        except TimeoutError:
            logger.critical("the consumer does not stop: the process ends")
            os._exit(1)
        except Exception:
            logger.exception("Faust did not stop cleanly")

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.options.limits.drain_timeout_s
        while self.ownership.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 -- nothing to signal
            await asyncio.sleep(_WATCH_S)
        if self.ownership.busy:
            logger.warning("%d messages are left to the next owner", self.ownership.busy)

    async def _acknowledged(self) -> None:
        """Give the last receipts a moment, so that what is done is committed."""
        deadline = asyncio.get_running_loop().time() + 1.0
        cursors = self.ownership.consumer.cursors if self.app._consumer is not None else {}
        while any(cursor.acks.pending for cursor in cursors.values()):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.01)


def _relax_garbage_collection() -> None:
    """Take what was built at start out of the collector's sight, and have it look less often.

    A thousand running turns are a hundred thousand live objects without a cycle among them; with Python's defaults
    the collector's passes over them are a third of a turn's CPU (444 against 280 us, benchmarks/README.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
