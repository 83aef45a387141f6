"""Idle and busy subscribers on one gateway: memory each, and the time a token takes from Kafka to their socket.

``python -m benchmarks.fanout [--subscribers 100 1000 10000] [--kinds sse websocket] [--json]``. Broker, gateway, writer
and subscribers are a process each. Every subscriber has a session of its own. Token records are written as a worker
writes them, to sessions at random, at the same rate whatever the number of subscribers: what is compared is what the
number costs. Each record is timed from the moment it is written, three times: when the broker has confirmed it, when a
bare librdkafka consumer beside the gateway has it, and when it is at the subscriber's socket (one clock,
CLOCK_MONOTONIC). ``added`` is the last less the first: from the record in Kafka to the socket. Memory is the gateway's
resident set, grown since a hundred subscribers had come and gone, divided by how many there are; taken while nothing
is sent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import psutil
from confluent_kafka import KafkaError, Message, Producer

from barnabas.reader import TopicReader
from infra.broker import Broker
from schemas.attempt import Attempt
from schemas.serdes import Codec
from schemas.tokens import Token, TokenKind
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

_ROOT: Final = Path(__file__).resolve().parent.parent
_PARTITIONS: Final = 16

#: Longest wait for a stage's last token, in seconds.
_GIVE_UP_S: Final = 60.0

#: How long subscribers idle before memory is read, in seconds.
_SETTLE_S: Final = 3.0

_WARM_UP: Final = 100

_PATHS: Final = {"sse": "/sessions/bench-{}/stream", "websocket": "/sessions/bench-{}/ws"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one number of subscribers costs.

    Attributes:
        kind: ``sse`` or ``websocket``.
        subscribers: How many are open.
        kib_each: Resident memory of the gateway for each, while idle.
        records: How many were written and arrived.
        confirmed_p50_ms: From writing to the broker's word, in ms; so is the 99th percentile.
        confirmed_p99_ms: As it says.
        bare_p50_ms: From writing to a bare consumer.
        bare_p99_ms: As it says.
        socket_p50_ms: From writing to the subscriber's socket.
        socket_p99_ms: As it says.
        added_p50_ms: From the broker's word to the socket.
        added_p99_ms: As it says.
        cpu_us: The gateway's CPU time for each record, in us.
        opened_per_s: Subscribers that were opened a second.
    """

    kind: str
    subscribers: int
    kib_each: float
    records: int
    confirmed_p50_ms: float
    confirmed_p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    socket_p50_ms: float
    socket_p99_ms: float
    added_p50_ms: float
    added_p99_ms: float
    cpu_us: float
    opened_per_s: float


class Writer:
    """Writes token records at a steady rate, and reads them with a bare consumer."""

    def __init__(self, bootstrap_servers: str, names: TopicNames) -> None:
        client = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        self._topic = names.tokens
        self._codec = Codec()
        self._producer = Producer({**client, "linger.ms": 0, "acks": "all", "enable.idempotence": True})
        self._reader = TopicReader(bootstrap_servers, names.tokens)
        self._random = random.Random(1)
        self._number = 0
        self.written: dict[int, int] = {}
        self.confirmed: dict[int, int] = {}
        self.seen: dict[int, int] = {}
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._read, self._serve)]
        for thread in self._threads:
            thread.start()

    def write(self, subscribers: int, rate: float, seconds: float) -> set[int]:
        """Write to sessions at random; returns the records' numbers."""
        for of in (self.written, self.confirmed, self.seen):
            of.clear()
        began, count = time.monotonic(), int(rate * seconds)
        for number in range(count):
            ahead = began + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            self._write_one(self._random.randrange(subscribers))
        self._producer.flush(_GIVE_UP_S)
        return {*self.written}

    def close(self) -> None:
        """End both threads."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._reader.close()

    def _write_one(self, session: int) -> None:
        self._number += 1
        number, session_id = self._number, f"bench-{session}"
        token = Token(
            session_id=session_id,
            turn_id=f"turn-{number}",
            message_id=f"message-{number}",
            attempt=Attempt(0, 0),
            epoch=0,
            index=0,
            kind=TokenKind.DELTA,
            text=str(number),
            occurred_at=time.time_ns() // 1_000_000,
        )
        key = session_id.encode()
        value = self._codec.encode(token, topic=self._topic)

        def confirmed(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                self.confirmed[number] = time.monotonic_ns()

        self.written[number] = time.monotonic_ns()
        self._producer.produce(
            self._topic, value, key, partition=partition_for(key, _PARTITIONS), on_delivery=confirmed
        )

    def _serve(self) -> None:
        while not self._is_over.is_set():
            self._producer.poll(0.1)

    def _read(self) -> None:
        while not self._is_over.is_set():
            for record in self._reader.poll(0.1):
                now = time.monotonic_ns()
                token = self._codec.decode_token(record.value, topic=self._topic, partition=0, offset=record.offset)
                self.seen[int(token.text or 0)] = now


class Clients:
    """The subscribers' process."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stream_clients", host, port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
        )  # fmt: skip

    def open(self, count: int, first: int, kind: str) -> None:
        """Open so many subscribers, each of a session of its own."""
        self._ask(open=count, first=first, path=_PATHS[kind])

    def take(self) -> dict[int, int]:
        """Return what came since it was last asked."""
        return dict(self._ask(take=True))

    def close_all(self) -> None:
        """Close all subscribers."""
        self._ask(close=True)

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(30)

    def _ask(self, **order: object) -> Any:
        pipe_in, pipe_out = _pipes(self._process)
        pipe_in.write(json.dumps(order) + "\n")
        pipe_in.flush()
        line = pipe_out.readline()
        if not line:
            raise SystemExit("the subscribers' process ended")
        return json.loads(line)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise SystemExit("no pipes")
    return process.stdin, process.stdout


@contextmanager
def _gateway(bootstrap_servers: str, prefix: str, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "BARNABAS_PREFIX": prefix,
        "BARNABAS_DATA_DIR": str(folder),
        "BARNABAS_GATEWAY__PORT": "0",
    }
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "barnabas", "gateway", "--json"],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=_ROOT, env={**os.environ, **settings},
        )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise SystemExit(f"the gateway did not start:\n{(folder / 'gateway.log').read_text()}")
        yield psutil.Process(process.pid), json.loads(line)["gateway"]
    finally:
        process.terminate()
        process.wait(60)


def measure_kind(kind: str, args: argparse.Namespace, gateway: psutil.Process, url: str, writer: Writer) -> list[Stage]:
    """Open more and more subscribers of one kind, and time tokens at each number."""
    clients, stages = Clients(url), []
    try:
        clients.open(_WARM_UP, 0, kind)
        writer.write(_WARM_UP, args.rate, 1.0)
        clients.close_all()
        time.sleep(_SETTLE_S)
        empty, opened = gateway.memory_info().rss, 0
        for count in args.subscribers:
            began = time.monotonic()
            clients.open(count - opened, opened, kind)
            opened_per_s = (count - opened) / (time.monotonic() - began)
            opened = count
            time.sleep(_SETTLE_S)
            kib_each = (gateway.memory_info().rss - empty) / 1024 / count
            clients.take()
            before = gateway.cpu_times()
            wanted = writer.write(count, args.rate, args.seconds)
            arrived = _all_of(wanted, clients)
            after = gateway.cpu_times()
            used_s = after.user + after.system - before.user - before.system
            stages.append(
                Stage(
                    kind=kind,
                    subscribers=count,
                    kib_each=kib_each,
                    records=len(arrived),
                    cpu_us=used_s / len(arrived) * 1e6,
                    opened_per_s=opened_per_s,
                    **_times("confirmed", writer.written, writer.confirmed),
                    **_times("bare", writer.written, writer.seen),
                    **_times("socket", writer.written, arrived),
                    **_times("added", writer.confirmed, arrived),
                )
            )
        clients.close_all()
        time.sleep(_SETTLE_S)
    finally:
        clients.end()
    return stages


def _all_of(wanted: set[int], clients: Clients) -> dict[int, int]:
    give_up, arrived = time.monotonic() + _GIVE_UP_S, clients.take()
    while wanted - arrived.keys():
        if time.monotonic() > give_up:
            raise SystemExit(f"{len(wanted - arrived.keys())} of {len(wanted)} tokens did not arrive in time")
        time.sleep(0.2)
        arrived |= clients.take()
    return {number: at for number, at in arrived.items() if number in wanted}


def _times(name: str, begun: dict[int, int], done: dict[int, int]) -> dict[str, float]:
    took = sorted((done[number] - at) / 1e6 for number, at in begun.items() if number in done)
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    return {f"{name}_p50_ms": statistics.median(took), f"{name}_p99_ms": p99}


def main() -> None:
    """Measure each kind in turn on one gateway, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--kinds", nargs="+", choices=("sse", "websocket"), default=["sse", "websocket"])
    parser.add_argument("--rate", type=float, default=200.0, help="records a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long records are written at each number")
    parser.add_argument("--json", action="store_true", help="a line of JSON instead of the table")
    args = parser.parse_args()
    args.subscribers = sorted(args.subscribers)
    names = TopicNames(f"bench-{uuid.uuid4().hex[:6]}")
    stages: list[Stage] = []
    with tempfile.TemporaryDirectory(prefix="barnabas-bench-") as folder:
        broker = Broker(Path(folder) / "broker", stops_with_parent=True)
        servers = broker.start().bootstrap_servers
        try:
            ensure_topics(servers, catalog(names, _PARTITIONS))
            for kind in args.kinds:
                with _gateway(servers, names.prefix, Path(folder)) as (gateway, url):
                    writer = Writer(servers, names)
                    stages += measure_kind(kind, args, gateway, url, writer)
                    writer.close()
        finally:
            broker.stop()
    _report(stages, args)


def _report(stages: list[Stage], args: argparse.Namespace) -> None:
    if args.json:
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        setup = {"machine": machine, "load": os.getloadavg()[1], "rate": args.rate, "seconds": args.seconds}
        print(json.dumps({**setup, "stages": [asdict(stage) for stage in stages]}))
        return
    print(f"{args.rate:g} records a second; p50 / p99 in ms, from writing but for 'added'")
    heads = ("KiB each", "confirmed", "bare consumer", "socket", "added", "CPU us", "opened/s")
    print(f"{'':10}{'open':>8}" + "".join(f"{head:>16}" for head in heads))
    for s in stages:
        pairs = (
            f"{s.confirmed_p50_ms:.1f} / {s.confirmed_p99_ms:.1f}", f"{s.bare_p50_ms:.1f} / {s.bare_p99_ms:.1f}",
            f"{s.socket_p50_ms:.1f} / {s.socket_p99_ms:.1f}", f"{s.added_p50_ms:.1f} / {s.added_p99_ms:.1f}",
        )  # fmt: skip
        figures = (f"{s.kib_each:.1f}", *pairs, f"{s.cpu_us:.0f}", f"{s.opened_per_s:.0f}")
        print(f"{s.kind:10}{s.subscribers:8,}" + "".join(f"{figure:>16}" for figure in figures))


if __name__ == "__main__":
    main()
