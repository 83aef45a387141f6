"""Turns a second and time to first token: one worker beside a bare librdkafka loop, in one run.

``make bench``, or ``python -m benchmarks.turns --json``. Both answer with 20 echo tokens and write the same
records; the machine's two cores are shared with the broker and with this driver. What counts is the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.broker import Broker
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

_ROOT = Path(__file__).resolve().parent.parent
_GIVE_UP_S = 240.0
_FIRST_DELTA, _TERMINAL = b"delta", (b"completed", b"failed")


@dataclass(frozen=True)
class Figures:
    """What one side reached."""

    turns_per_s: float
    tokens_per_s: float
    first_token_p50_ms: float
    first_token_p99_ms: float
    cpu_us_per_turn: float


@contextmanager
def _process(*command: str, ready: str, env: dict[str, str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=_ROOT, env={**os.environ, **env}
    )
    try:
        for line in process.stdout or ():
            if ready in line:
                break
        else:
            raise SystemExit(f"{command} ended before it was ready")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


class Driver:
    """Publishes messages and watches the token topic."""

    def __init__(self, bootstrap_servers: str, names: TopicNames, partitions: int) -> None:
        client = {"bootstrap.servers": bootstrap_servers}
        self._names, self._partitions = names, partitions
        self._producer = Producer({**client, "linger.ms": 1, "acks": "all", "queue.buffering.max.messages": 500_000})
        self._consumer = Consumer(
            {**client, "group.id": "bench", "auto.offset.reset": "latest", "fetch.wait.max.ms": 10}
        )
        self._consumer.assign([TopicPartition(names.tokens, p, 0) for p in range(partitions)])
        self._consumer.consume(1, 1.0)

    def send(self, session: str) -> None:
        """Publish one message of 5 words, to the right partition."""
        key = session.encode()
        self._producer.produce(
            self._names.messages, b'{"text":"please say something nice now"}', key, partition_for(key, self._partitions)
        )
        self._producer.poll(0)

    def throughput(self, name: str, turns: int, sessions: int) -> float:
        """Publish all at once; return turns a second from the first send to the last terminal token."""
        began = time.perf_counter()
        for number in range(turns):
            self.send(f"{name}-{number % sessions}")
        self._producer.flush()
        done = 0
        while done < turns:
            for message in self._consumer.consume(2000, 0.2):
                done += any(kind in message.value() for kind in _TERMINAL)
            if time.perf_counter() - began > _GIVE_UP_S:
                raise SystemExit(f"only {done} of {turns} turns were answered")
        return turns / (time.perf_counter() - began)

    def first_tokens(self, rate: float, seconds: float) -> list[float]:
        """Publish at a steady rate; return each turn's time to its first delta, in ms."""
        sent: dict[bytes, float] = {}
        seen: list[float] = []
        began = time.perf_counter()
        total = int(rate * seconds)
        while len(seen) < total and time.perf_counter() - began < seconds + 20:
            due = began + len(sent) / rate
            if len(sent) < total and time.perf_counter() >= due:
                session = f"paced-{len(sent)}"
                sent[session.encode()] = time.perf_counter()
                self.send(session)
                self._producer.poll(0)
            for message in self._consumer.consume(100, 0.002):
                at = time.perf_counter()
                if _FIRST_DELTA in message.value() and message.key() in sent:
                    seen.append((at - sent.pop(message.key())) * 1000)
                    sent[message.key() + b" seen"] = 0.0
        return seen

    def close(self) -> None:
        """Release the clients."""
        self._consumer.close()


def _measure(process: psutil.Process, bootstrap_servers: str, names: TopicNames, args: argparse.Namespace) -> Figures:
    driver = Driver(bootstrap_servers, names, args.partitions)
    try:
        driver.throughput("warm", args.turns // 10, args.sessions)  # warm-up
        latencies = driver.first_tokens(args.rate, args.seconds)
        before = sum(process.cpu_times()[:2])
        rate = driver.throughput("load", args.turns, args.sessions)
        cpu = (sum(process.cpu_times()[:2]) - before) / args.turns * 1e6
    finally:
        driver.close()
    cuts = statistics.quantiles(latencies, n=100)
    return Figures(rate, rate * args.tokens, statistics.median(latencies), cuts[98], cpu)


def main() -> None:
    """Measure both sides, alternating, and print them with the ratios of their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=20_000, help="one turn each by default: equal records")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--rate", type=float, default=20.0, help="turns a second for the time to first token")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results: dict[str, list[Figures]] = {"worker": [], "bare loop": []}
    with tempfile.TemporaryDirectory(prefix="barnabas-bench-") as folder:
        broker = Broker(Path(folder) / "broker", stops_with_parent=True)
        servers = broker.start().bootstrap_servers
        try:
            for _ in range(args.rounds):
                for side, figures in results.items():
                    names = TopicNames(f"bench-{uuid.uuid4().hex[:8]}")
                    ensure_topics(servers, catalog(names, partitions=args.partitions))
                    with _side(side, servers, names, args, Path(folder)) as process:
                        figures.append(_measure(process, servers, names, args))
        finally:
            broker.stop()
    _report(results, as_json=args.json)


@contextmanager
def _side(
    side: str, servers: str, names: TopicNames, args: argparse.Namespace, folder: Path
) -> Iterator[psutil.Process]:
    if side == "worker":
        env = {
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "BARNABAS_PREFIX": names.prefix,
            "BARNABAS_PARTITIONS": str(args.partitions),
            "BARNABAS_MODEL": f"echo:{args.tokens}",
            "BARNABAS_DATA_DIR": str(folder / names.prefix),
        }
        command = ("-m", "barnabas", "worker", "--json")
    else:
        env = {}
        command = (
            "-m", "benchmarks.bare_loop", "--bootstrap-servers", servers, "--prefix", names.prefix,
            "--tokens", str(args.tokens),
        )  # fmt: skip
    with _process(*command, ready="ready", env=env) as process:
        yield process


def _report(results: dict[str, list[Figures]], *, as_json: bool) -> None:
    def median(side: str, field: str) -> float:
        return statistics.median(getattr(figures, field) for figures in results[side])

    ratios = {
        "turns": median("worker", "turns_per_s") / median("bare loop", "turns_per_s"),
        "first_token_p50": median("worker", "first_token_p50_ms") / median("bare loop", "first_token_p50_ms"),
    }
    if as_json:
        rounds = {side: [asdict(figure) for figure in figures] for side, figures in results.items()}
        print(
            json.dumps({"machine": f"{os.cpu_count()} cores, {platform.machine()}", "rounds": rounds, "ratios": ratios})
        )
        return
    print(f"{'':12}{'turns/s':>10}{'tokens/s':>11}{'first token p50':>18}{'p99':>10}{'CPU a turn':>14}")
    for side, figures in results.items():
        for figure in figures:
            print(
                f"{side:12}{figure.turns_per_s:10.0f}{figure.tokens_per_s:11.0f}"
                f"{figure.first_token_p50_ms:15.1f} ms{figure.first_token_p99_ms:7.1f} ms"
                f"{figure.cpu_us_per_turn:11.0f} us"
            )
    print(f"\nworker to bare loop: {ratios['turns']:.2f} of its turns/s (goal: 0.25 or more), "
          f"{ratios['first_token_p50']:.2f} times its time to first token (goal: 1.5 or less)")  # fmt: skip


if __name__ == "__main__":
    main()
