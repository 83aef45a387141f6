"""The pause that a subscriber sees when one of two workers leaves, dies, or comes back.

``make bench-failover``, or ``python -m benchmarks.failover --json``. An open-loop load of many sessions, subscribers on
the tokens. Each round starts two workers on empty directories, takes one of them away (SIGTERM or SIGKILL), and starts
it again; with standby replicas off and on. What is measured, over the partitions that changed hands:

- *subscriber*: of each session, the longest time from publishing to the first token, around the event;
- *message*: the same of each message;
- *gap*: of each partition, the longest time without a first token.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.recovery import Log
from infra.broker import Broker
from schemas.serdes import Codec
from schemas.tokens import TokenKind
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

_ROOT = Path(__file__).resolve().parent.parent
_READY_S = 120.0
_STEADY_S = 3.0
_SESSION_TIMEOUT_S = 6.0

#: Before and after the event, what is published then is looked at.
_BEFORE_S = 0.5
_AFTER_S = {"SIGTERM": 4.0, "SIGKILL": _SESSION_TIMEOUT_S + 5.0, "return": 4.0}


@dataclass(slots=True)
class Message:
    """One message of the load; times in seconds of the driver's clock."""

    session: str
    partition: int
    published: float
    first_token: float = math.inf


@dataclass(slots=True)
class Pause:
    """p50, p99 and longest, in seconds."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Pause:
        """Summarise; at least one value."""
        ordered = sorted(values)
        return cls(*(round(x, 3) for x in (statistics.median(ordered), _quantile(ordered, 0.99), ordered[-1])))


@dataclass(frozen=True, slots=True)
class Pauses:
    """What an event did to the partitions that changed hands, and how many these were."""

    partitions: int
    subscriber: Pause
    message: Pause
    gap: Pause


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


@dataclass(slots=True)
class Driver:
    """Publishes at a steady rate and watches the token topic, each in a thread."""

    servers: str
    names: TopicNames
    partitions: int
    rate: float
    sessions: int
    messages: dict[str, Message] = field(default_factory=dict)
    #: ``(seen at, partition, epoch)`` of each first token, in order.
    seen: list[tuple[float, int, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to read; the load begins with the first token reader's assignment."""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._publish)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _publish(self) -> None:
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 0, "acks": "all"})
        began, sent = time.monotonic(), 0
        while not self._stop.is_set():
            session, message_id = f"load-{sent % self.sessions}", f"m{sent}"
            partition = partition_for(session.encode(), self.partitions)
            self.messages[message_id] = Message(session, partition, time.monotonic())
            body = json.dumps({"text": "say something nice", "message_id": message_id}).encode()
            producer.produce(self.names.messages, body, session.encode(), partition)
            producer.poll(0)
            sent += 1
            self._stop.wait(max(0.0, began + sent / self.rate - time.monotonic()))
        producer.flush(30)

    def _read(self) -> None:
        codec, topic = Codec(), self.names.tokens
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": "bench-reader", "fetch.wait.max.ms": 10,
             "auto.offset.reset": "earliest", "enable.auto.commit": False}
        )  # fmt: skip
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(self.partitions)])
        while not self._stop.is_set():
            for record in consumer.consume(500, 0.01):
                at = time.monotonic()
                if record.error() is not None:
                    continue
                token = codec.decode_token(
                    record.value(), topic=topic, partition=record.partition(), offset=record.offset()
                )
                message = self.messages.get(token.message_id)
                if token.kind is TokenKind.DELTA and message is not None and math.isinf(message.first_token):
                    message.first_token = at
                    self.seen.append((at, record.partition(), token.epoch))
        consumer.close()

    def unanswered(self, until: float) -> int:
        """How many messages published by then have no token yet."""
        messages = [*self.messages.values()]
        return sum(math.isinf(message.first_token) and message.published <= until for message in messages)

    def pauses(self, event: str, at: float) -> Pauses:
        """What the event at ``at`` did to the partitions that changed hands."""
        first, last = at - _BEFORE_S, at + _AFTER_S[event]
        epochs: dict[int, int] = {}
        moved: set[int] = set()
        firsts: dict[int, list[float]] = defaultdict(list)
        for seen, partition, epoch in self.seen:
            if first <= seen <= last:
                firsts[partition].append(seen)
            if seen >= at and epoch > epochs.get(partition, epoch):
                moved.add(partition)
            epochs[partition] = max(epoch, epochs.get(partition, epoch))
        waits: dict[str, list[float]] = defaultdict(list)
        for message in [*self.messages.values()]:
            if message.partition in moved and first <= message.published <= last:
                waits[message.session].append(message.first_token - message.published)
        gaps = [max(b - a for a, b in itertools.pairwise(times)) for p, times in firsts.items() if p in moved]
        return Pauses(
            partitions=len(moved),
            subscriber=Pause.of(max(of_session) for of_session in waits.values()),
            message=Pause.of(wait for of_session in waits.values() for wait in of_session),
            gap=Pause.of(gaps),
        )


class WorkerProcess:
    """One worker."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "barnabas", "worker", "--json", "--name", name],
                cwd=_ROOT, env={**os.environ, **env, "BARNABAS_DATA_DIR": str(folder)},
                stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Wait until it is behind its barriers."""
        timer = threading.Timer(_READY_S, self.popen.kill)
        timer.start()
        try:
            if not any('"ready"' in line for line in self.popen.stdout or ()):
                raise SystemExit(f"a worker did not start:\n{self.log.read_text()[-2000:]}")
        finally:
            timer.cancel()

    def end(self, signum: signal.Signals) -> None:
        """Send a signal and reap it."""
        self.popen.send_signal(signum)
        self.popen.wait(60)


@dataclass(frozen=True, slots=True)
class Round:
    """One round's setting and its figures by event."""

    fault: str
    standby_replicas: int
    table_sessions: int
    exit_s: float
    events: dict[str, Pauses]


def _round(driver: Driver, env: dict[str, str], folder: Path, fault: str, asked: argparse.Namespace) -> Round:
    """Two workers from empty directories; one goes, and comes back on its directory."""
    standby = int(env["BARNABAS_STANDBY_REPLICAS"])
    folder.mkdir()
    workers: dict[str, WorkerProcess] = {}
    events: dict[str, Pauses] = {}
    try:
        for name in ("a", "b"):
            workers[name] = WorkerProcess(name, folder, env)
            workers[name].wait_ready()
        _settle(driver)
        at = time.monotonic()
        workers["a"].end(signal.Signals[fault])
        exit_s = round(time.monotonic() - at, 3)
        _settle(driver, at + _AFTER_S[fault])
        events[fault] = driver.pauses(fault, at)
        started = time.monotonic()
        workers["a"] = WorkerProcess("a", folder, env)
        workers["a"].wait_ready()
        # When it joined is not known to the driver: some time before it was ready.
        at = max(started, time.monotonic() - 2.0)
        _settle(driver, at + _AFTER_S["return"])
        events["return"] = driver.pauses("return", at)
        return Round(fault, standby, asked.table, exit_s, events)
    finally:
        for worker in workers.values():
            if worker.popen.poll() is None:
                worker.end(signal.SIGTERM)
        if asked.logs:
            for worker in workers.values():
                print(f"\n== {worker.log}\n{worker.log.read_text()}", file=sys.stderr)


def _settle(driver: Driver, until: float | None = None) -> None:
    """Let the load run until then, or for some seconds; then until what was published by then is answered."""
    until = until if until is not None else time.monotonic() + _STEADY_S
    while time.monotonic() < until:
        time.sleep(0.05)
    deadline = until + _READY_S
    while left := driver.unanswered(until):
        if time.monotonic() > deadline:
            raise SystemExit(f"{left} messages were not answered within {_READY_S:g} s")
        time.sleep(0.1)


@contextmanager
def _deployment(folder: Path, asked: argparse.Namespace) -> Iterator[Driver]:
    broker = Broker(folder / "broker", stops_with_parent=True)
    servers = broker.start().bootstrap_servers
    names = TopicNames(f"bench-{uuid.uuid4().hex[:8]}")
    driver = Driver(servers, names, asked.partitions, asked.rate, asked.sessions)
    try:
        ensure_topics(servers, catalog(names, asked.partitions))
        if asked.table:
            _fill(servers, names, asked)
        driver.start()
        yield driver
    finally:
        driver.stop()
        broker.stop()


def _fill(servers: str, names: TopicNames, asked: argparse.Namespace) -> None:
    """Write a large table, and have its events committed, as its last worker left them."""
    Log(servers, names, asked.partitions).write(asked.table, asked.bytes)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": names.group_id})
    tps = [TopicPartition(names.events, p) for p in range(asked.partitions)]
    for tp in tps:
        tp.offset = consumer.get_watermark_offsets(tp)[1]
    consumer.commit(offsets=tps, asynchronous=False)
    consumer.close()


def main() -> None:
    """Run the rounds and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second")
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--table", type=int, default=0, help="sessions in the table before the first round")
    parser.add_argument("--bytes", type=int, default=2048, help="remembered by each of them")
    parser.add_argument("--model", default="echo:5@0.05")
    parser.add_argument("--rounds", type=int, default=1, help="of each setting")
    parser.add_argument("--faults", nargs="+", choices=("SIGTERM", "SIGKILL"), default=["SIGTERM", "SIGKILL"])
    parser.add_argument("--standby", nargs="+", type=int, default=[0, 1], help="standby replicas")
    parser.add_argument("--logs", action="store_true", help="print the workers' logs")
    parser.add_argument("--json", action="store_true", help="a line of JSON instead of the table")
    asked = parser.parse_args()
    rounds: list[Round] = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="barnabas-bench-") as folder, _deployment(Path(folder), asked) as driver:
        for number in range(asked.rounds):
            for fault in asked.faults:
                for standby in asked.standby:
                    env = {
                        "KAFKA_BOOTSTRAP_SERVERS": driver.servers,
                        "BARNABAS_PREFIX": driver.names.prefix,
                        "BARNABAS_PARTITIONS": str(asked.partitions),
                        "BARNABAS_MODEL": asked.model,
                        "BARNABAS_STANDBY_REPLICAS": str(standby),
                    }
                    place = Path(folder) / f"{fault}-{standby}-{number}"
                    rounds.append(_round(driver, env, place, fault, asked))
    _report(rounds, asked, load)


def _report(rounds: list[Round], asked: argparse.Namespace, load: float) -> None:
    if asked.json:
        setting = {"rate": asked.rate, "sessions": asked.sessions, "partitions": asked.partitions,
                   "table_sessions": asked.table, "model": asked.model, "load_before": round(load, 2),
                   "machine": f"{os.cpu_count()} cores, {platform.machine()}"}  # fmt: skip
        print(json.dumps({**setting, "rounds": [asdict(figures) for figures in rounds]}))
        return
    print(f"{'event':14}{'standby':>8}{'moved':>7}{'subscriber p50':>16}{'p99':>8}{'max':>8}{'message p99':>13}"
          f"{'gap max':>9}{'exit':>8}   (seconds)")  # fmt: skip
    for figures in rounds:
        for event, found in figures.events.items():
            exit_s = f"{figures.exit_s:8.2f}" if event == figures.fault else f"{'':8}"
            print(f"{event:14}{figures.standby_replicas:8}{found.partitions:7}{found.subscriber.p50:16.2f}"
                  f"{found.subscriber.p99:8.2f}{found.subscriber.max:8.2f}{found.message.p99:13.2f}"
                  f"{found.gap.max:9.2f}{exit_s}")  # fmt: skip
    print(f"\ngoals: SIGTERM subscriber p99 below 2 s; SIGKILL below {_SESSION_TIMEOUT_S + 2:g} s "
          "(session time-out and 2 s)")  # fmt: skip


if __name__ == "__main__":
    main()
