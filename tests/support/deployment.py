"""A deployment for one test: topics of its own, a publisher, workers as processes or in the test's loop, a checker."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec.structs import replace

from schemas.dead_letters import DeadLetter
from schemas.ids import message_id_at
from schemas.serdes import Codec
from schemas.tokens import TERMINAL_KINDS
from streams.providers.scripted import Behaviour, Script, ScriptedCall, read_calls
from streams.worker import Worker
from tests.support.checker import LogFold, Published, Report, check_run, fold_log
from tests.support.effects import Effect, read_effects
from tests.support.faults import Faults
from tests.support.processes import ROOT, BarnabasProcess, environment
from tests.support.topic_reader import Read, TopicReader
from tests.support.waiting import DEADLINE_S
from tests.support.worker_main import PATIENT, WorkerSpec
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

PARTITIONS = 4

#: Six words over 60 ms, but for texts that ask for something else.
SCRIPT = Script(
    replies={
        "slow *": Behaviour(reply="a b c d e f g h i j k l m n o p q r s t", between_delay_s=0.2),
        "long *": Behaviour(reply=" ".join(str(number) for number in range(60)), between_delay_s=0.2),
        "two-seconds *": Behaviour(reply="a b c d e f g h i j k", between_delay_s=0.2),
        "medium *": Behaviour(reply="a b c d e f", between_delay_s=0.2),
        "hang *": Behaviour(reply="never ends", hang_after=1),
        "endless *": Behaviour(reply=" ".join(str(number) for number in range(3000)), between_delay_s=0.1),
        "gated *": Behaviour(reply="a b c d e f"),
        "fast *": Behaviour(reply="{user}!"),
    },
    default=Behaviour(reply="You said: {user} here", between_delay_s=0.012),
)


def stuck_script(**chunks: int) -> Script:
    """Return the script of a worker that will be killed: answers to these first words stop for ever after so many."""
    stuck = {f"{word} *": replace(SCRIPT.replies[f"{word} *"], hang_after=count) for word, count in chunks.items()}
    return replace(SCRIPT, replies={**SCRIPT.replies, **stuck})


class WorkerProcess(BarnabasProcess):
    """A test's worker (``worker_main``) as a process; see :class:`BarnabasProcess`."""

    def __init__(self, spec: WorkerSpec, folder: Path, *, env: dict[str, str | None] | None = None) -> None:
        path = folder / f"{spec.name}-{time.monotonic_ns()}.json"
        path.write_bytes(msgspec.json.encode(spec))
        self.spec = spec
        self.log = path.with_suffix(".log")
        self.arguments = (spec.name,)
        with self.log.open("ab") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.worker_main", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment({"BARNABAS_TEST_OFF": os.environ.get("BARNABAS_TEST_OFF"), **(env or {})}),
                cwd=ROOT,
                text=True,
                start_new_session=True,
            )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()


class Load:
    """Publishes at a steady rate from a thread until it is stopped."""

    def __init__(self, deployment: Deployment, *, rate: float, sessions: int, text: str = "m") -> None:
        self._deployment, self._rate, self._sessions, self._text = deployment, rate, sessions, text
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_S)
        self._deployment.flush()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            session = f"s{self.sent % self._sessions}"
            self._deployment.publish(session, f"{self._text} {self.sent}")
            self.sent += 1
            self._stop.wait(max(0.0, began + self.sent / self._rate - time.monotonic()))


class Deployment:
    """Everything a crash or fence test needs, over one Kafka."""

    def __init__(
        self, bootstrap_servers: str, names: TopicNames, folder: Path, *, partitions: int = PARTITIONS
    ) -> None:
        self.bootstrap_servers, self.names, self.folder, self.partitions = bootstrap_servers, names, folder, partitions
        self.calls_path = folder / "calls.jsonl"
        self.effects_path = folder / "effects.jsonl"
        ensure_topics(bootstrap_servers, catalog(names, partitions))
        #: What the broker confirmed, in the order of publishing within a session.
        self.published: list[Published] = []
        self.unconfirmed = 0
        self.processes: list[WorkerProcess] = []
        self._readers: dict[str, TopicReader] = {}
        self._numbers = itertools.count()
        self._log = LogFold()
        self._log_read = 0
        self._codec = Codec()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )

    # -- Publishing

    def publish(
        self,
        session: str,
        text: str,
        *,
        partition: int | None = None,
        message_id: str | None = None,
        **fields: object,
    ) -> None:
        """Publish a message as any client would: JSON, key = session; counted once the broker has confirmed it."""
        body = {"text": text, **fields, **({"message_id": message_id} if message_id else {})}

        def confirmed(error: Any, message: Any) -> None:
            if error is not None:
                self.unconfirmed += 1
                return
            at = message.partition(), message.offset()
            known = message_id or message_id_at(self.names.messages, *at)
            self.published.append(Published(session, known, text, *at))

        self.produce(
            self.names.messages, json.dumps(body).encode(), session.encode(), partition=partition, on_delivery=confirmed
        )

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int | None = None,
        on_delivery: Callable[[Any, Any], None] | None = None,
    ) -> None:
        """Write bytes to a topic, on the key's own partition unless one is named; -1 is librdkafka's choice (CRC32)."""
        if partition is None:
            partition = partition_for(key or b"", self.partitions)
        self._producer.produce(topic, value, key, partition, on_delivery=on_delivery)
        self._producer.poll(0)

    def committed(self, topic: str, partition: int) -> int:
        """The group's committed offset, -1001 for none."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": self.names.group_id, "log_level": 0}
        )
        try:
            return consumer.committed([TopicPartition(topic, partition)], timeout=DEADLINE_S)[0].offset
        finally:
            consumer.close()

    def ends(self, *topics: str) -> dict[tuple[str, int], int]:
        """The ends of topics, by partition."""
        found = {}
        for topic in topics:
            consumer = self.reader(topic)._consumer
            for partition in range(self.partitions):
                _, found[topic, partition] = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=DEADLINE_S
                )
        return found

    def session_on(self, partition: int, tag: str = "s") -> str:
        """A session id whose key belongs to this partition."""
        return next(
            name
            for number in itertools.count()
            if partition_for((name := f"{tag}-{partition}-{number}").encode(), self.partitions) == partition
        )

    def control(self, session: str, **fields: object) -> None:
        """Publish a control."""
        self.produce(self.names.control, json.dumps(fields).encode(), session.encode())
        self.flush()

    def flush(self) -> None:
        """Wait for the publisher's confirmations."""
        left = self._producer.flush(DEADLINE_S)
        assert left == 0, f"{left} records of the test's own publisher were not confirmed"

    # -- Workers

    def spec(
        self, name: str = "w1", *, faults: Faults | None = None, script: Script = SCRIPT, **options: Any
    ) -> WorkerSpec:
        """Describe a worker; ``limits`` and ``consumer`` are dicts of the dataclasses' fields."""
        return WorkerSpec(
            bootstrap_servers=self.bootstrap_servers,
            data_dir=str(self.folder / "data"),
            prefix=self.names.prefix,
            partitions=self.partitions,
            name=name,
            script=script,
            calls_path=str(self.calls_path),
            effects_path=str(self.effects_path),
            faults=faults or Faults(),
            **options,
        )

    def start(self, name: str = "w1", *, env: dict[str, str | None] | None = None, **options: Any) -> WorkerProcess:
        """Start a worker process; the deployment ends it."""
        worker = WorkerProcess(self.spec(name, **options), self.folder, env=env)
        self.processes.append(worker)
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL a worker."""
        worker.kill()

    def died(self, worker: WorkerProcess, timeout_s: float = DEADLINE_S) -> None:
        """Wait until a worker with a deadly fault has killed itself."""
        assert worker.wait(timeout_s) == -9, worker.tail()

    # -- Reading

    def reader(self, topic: str) -> TopicReader:
        """The reader of a topic, one a test."""
        if topic not in self._readers:
            self._readers[topic] = TopicReader(self.bootstrap_servers, topic, self.partitions)
        return self._readers[topic]

    def log(self) -> LogFold:
        """Fold what the log holds by now."""
        reader = self.reader(self.names.events)
        reader.poll(0.02)
        fold_log(reader.records[self._log_read :], reader.topic, self._log)
        self._log_read = len(reader.records)
        return self._log

    def tokens(self) -> list[Any]:
        """All tokens by now, decoded."""
        reader = self.reader(self.names.tokens)
        reader.read_to_end()
        return [
            self._codec.decode_token(r.value, topic=reader.topic, partition=r.partition, offset=r.offset)
            for r in reader.records
        ]

    def dead_letters(self) -> list[Any]:
        """All dead letters by now, decoded, without what was done with them."""
        reader = self.reader(self.names.dead_letters)
        reader.read_to_end()
        decoded = (
            self._codec.decode_dead_letter(r.value, topic=reader.topic, partition=r.partition, offset=r.offset)
            for r in reader.records
        )
        return [letter for letter in decoded if isinstance(letter, DeadLetter)]

    def effects(self) -> list[Effect]:
        """All runs of tools by now."""
        return read_effects(self.effects_path)

    def calls(self) -> list[ScriptedCall]:
        """All model calls by now."""
        return read_calls(self.calls_path)

    def unanswered(self) -> list[Published]:
        """What has no accepted outcome yet."""
        outcomes = self.log().outcomes
        return [message for message in [*self.published] if message.turn_id not in outcomes]

    # -- Waiting

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Wait until ``condition()``; fails with ``what`` and the workers' last lines."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                tails = "\n\n".join(f"{process.spec.name}:\n{process.tail(25)}" for process in self.processes)
                raise AssertionError(f"not within {timeout_s:g} s: {what}\n{tails}")
            pause.wait(0.02)

    def wait_answered(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until every published message has an accepted outcome in the log."""
        deadline = time.monotonic() + timeout_s
        while left := self.unanswered():
            if time.monotonic() > deadline:
                tails = "\n\n".join(f"{process.spec.name}:\n{process.tail(25)}" for process in self.processes)
                text = (
                    f"{len(left)} of {len(self.published)} messages not answered in {timeout_s:g} s, such as {left[0]}"
                )
                raise AssertionError(f"{text}\n{tails}")

    def wait_told(self) -> None:
        """Wait until every published message's end is told: from then on reads of its owner have it.

        In the log an outcome can be seen before its owner has heard that it is there, and reads it into the session.
        """

        def is_told() -> bool:
            ended = {token.turn_id for token in self.tokens() if token.kind in TERMINAL_KINDS}
            return all(message.turn_id in ended for message in [*self.published])

        self.wait(is_told, "every message's end is told")

    def wait_committed(self, timeout_s: float = DEADLINE_S, *, topics: tuple[str, ...] | None = None) -> None:
        """Wait until the group has committed everything: nothing is held back by an acknowledgement that never came."""
        names = self.names
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": names.group_id, "log_level": 0})
        tps = [
            TopicPartition(topic, p)
            for topic in topics or (names.messages, names.control, names.events)
            for p in range(self.partitions)
        ]
        missing: list[str] = []

        def is_done() -> bool:
            missing.clear()
            for tp in consumer.committed(tps, timeout=DEADLINE_S):
                _, end = consumer.get_watermark_offsets(tp, timeout=DEADLINE_S)
                if end and tp.offset != end:
                    missing.append(f"{tp.topic}-{tp.partition}: {tp.offset} of {end}")
            return not missing

        try:
            deadline = time.monotonic() + timeout_s
            while not is_done():
                assert time.monotonic() < deadline, f"not committed within {timeout_s:g} s: {missing}"
        finally:
            consumer.close()

    # -- Judging

    def check(self, *, with_calls: bool = True) -> Report:
        """Read the topics to their ends and check every promise; the report is clean, or this fails."""
        report = check_run(
            published=self.published,
            events=self.reader(self.names.events).read_to_end(),
            tokens=self.reader(self.names.tokens).read_to_end(),
            calls=self.calls() if with_calls else (),
            effects=self.effects(),
            events_topic=self.names.events,
            tokens_topic=self.names.tokens,
        )
        self._check_changelog(report)
        sys.stdout.write(f"{report}\n")  # shown where the test fails
        report.assert_clean()
        self._doctor()
        return report

    def _check_changelog(self, report: Report) -> None:
        """The changelog's highest value of each session is folded up to the session's last event that counts."""
        from state.value import header_of

        log = self.log()
        highest: dict[bytes, int] = {}
        for record in self.reader(self.names.changelog).read_to_end():
            if record.key is not None and record.value and not record.key.startswith(b"\x00"):
                highest[record.key] = max(highest.get(record.key, -1), header_of(record.value).folded)
        for session, offset in log.last_offset.items():
            if highest.get(session.encode(), -1) < offset:
                report.fault(
                    f"changelog of {session}: folded up to {highest.get(session.encode(), -1)}, the log up to {offset}"
                )

    def _doctor(self) -> None:
        from tests.support.doctor import assert_audit_clean

        assert_audit_clean(self)

    def close(self) -> None:
        """End what runs, release what is open."""
        for process in self.processes:
            process.close()
        for reader in self._readers.values():
            reader.close()
        with suppress(Exception):
            self._producer.flush(1.0)


class LocalWorker:
    """A worker in the test's own event loop: its parts can be looked at and patched."""

    def __init__(self, deployment: Deployment, spec: WorkerSpec, agents: Any = None) -> None:
        self.deployment = deployment
        self.worker = Worker(spec.options(), agents or spec.agents())
        self._task: asyncio.Task[int] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.worker.run())
        await self.until(lambda: self.is_open, "all its partitions are open")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_args: object) -> None:
        self.worker.stop()
        if self._task is not None:
            code = await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), DEADLINE_S)
            assert kind is not None or code == [0], f"the worker ended with {code}"
            self._task = None

    @property
    def is_open(self) -> bool:
        """Whether it owns partitions and all of them are open."""
        ownership = self.worker.ownership
        return bool(ownership.partitions) and all(partition.is_open for partition in ownership.partitions.values())

    async def stop(self) -> int:
        """End it in order; returns its exit code."""
        self.worker.stop()
        assert self._task is not None
        task, self._task = self._task, None
        return await asyncio.wait_for(task, DEADLINE_S)

    async def ended(self, timeout_s: float = DEADLINE_S) -> int | BaseException:
        """Wait for its end; returns its exit code or what it raised."""
        assert self._task is not None
        task, self._task = self._task, None
        (result,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), timeout_s)
        return result

    async def until(self, condition: Callable[[], object], what: str, timeout_s: float = DEADLINE_S) -> None:
        """Let the worker run until ``condition()``; fails when it ends first."""
        deadline = time.monotonic() + timeout_s
        while not _evaluate(condition):
            if self._task is not None and self._task.done():
                raise AssertionError(f"the worker ended ({self._task}) before {what}")
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
            await asyncio.sleep(0.01)

    async def until_answered(self, timeout_s: float = DEADLINE_S) -> None:
        """Let the worker run until everything published is answered."""
        deadline = time.monotonic() + timeout_s
        while left := await asyncio.to_thread(self.deployment.unanswered):
            assert time.monotonic() < deadline, f"{len(left)} messages not answered within {timeout_s:g} s: {left[:3]}"

    async def until_committed(self, timeout_s: float = DEADLINE_S, **options: Any) -> None:
        """Let the worker run until everything is committed."""
        await asyncio.to_thread(self.deployment.wait_committed, timeout_s, **options)


def _evaluate(condition: Callable[[], object]) -> object:
    try:
        return condition()
    except AttributeError:  # parts that are made when the worker starts
        return False


__all__ = [
    "PARTITIONS",
    "PATIENT",
    "SCRIPT",
    "Deployment",
    "Load",
    "LocalWorker",
    "Read",
    "WorkerProcess",
    "stuck_script",
]
