"""Ten times the sustainable rate: what becomes of admitted turns, of memory, and of the messages that wait.

``python -m benchmarks.overload [--seconds 60] [--factor 10] [--model echo:20] [--json]``. First the sustainable rate (a
backlog is drained), then an open loop a little below it, then one at ten times of it, then the drain, which takes
about ten times as long as the load. A turn is admitted when its message is taken from Kafka into its session's lane;
its first token counts when the broker has it. Before that it waits in Kafka, which costs the worker nothing.
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
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.broker import Broker
from schemas.ids import message_id_at, turn_id_for
from tests.support.checker import LogFold, fold_log
from tests.support.topic_reader import TopicReader
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames
from topics.partitioner import partition_for

_ROOT = Path(__file__).resolve().parent.parent
_TICK_S = 0.01
_SAMPLE_S = 0.25
_STALLED_S = 60.0
_QUIET_POLLS = 3
_MIB = 1 << 20


@dataclass
class Phase:
    """One load, and what was seen while it ran and until it was answered.

    Attributes:
        rate: Messages a second that were published.
        turns_per_s: Messages a second that were answered, from the first one sent to the last one committed.
        first_token_p50_ms: From admission to the first delta's confirmation.
        rss_mib: The worker's resident memory, four times a second until all is committed.
        lag: Messages published and not committed, at the same moments.
    """

    rate: float = 0.0
    messages: int = 0
    turns_per_s: float = 0.0
    first_token_p50_ms: float = 0.0
    first_token_p99_ms: float = 0.0
    rss_mib: list[int] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    began: float = 0.0
    loaded: float = 0.0
    ended: float = 0.0


class Load:
    """Publishes, each message of a session of its own, and watches what is committed."""

    def __init__(self, servers: str, names: TopicNames, partitions: int, worker: psutil.Process) -> None:
        client = {"bootstrap.servers": servers}
        self._names, self._partitions, self._worker = names, partitions, worker
        self._producer = Producer({**client, "linger.ms": 5, "acks": "all", "queue.buffering.max.messages": 2_000_000})
        self._group = Consumer({**client, "group.id": names.group_id, "log_level": 0})
        self._tps = [TopicPartition(names.messages, number) for number in range(partitions)]
        #: Turn ids of all that the broker has confirmed.
        self.confirmed: set[str] = set()
        self.sent = 0

    def run(self, messages: int, rate: float | None) -> Phase:
        """Publish so many at that rate (None: all at once), and wait until all are committed."""
        phase = Phase(rate=rate or 0.0, messages=messages, began=time.time())
        began, due, sent, sampled = time.monotonic(), 0, 0, 0.0
        while sent < messages:
            due = messages if rate is None else min(messages, int((time.monotonic() - began) * rate) + 1)
            for _ in range(due - sent):
                self._send()
            sent = due
            self._producer.poll(0)
            if time.monotonic() - sampled >= _SAMPLE_S:
                sampled = time.monotonic()
                self._sample(phase)
            time.sleep(_TICK_S)
        phase.loaded = time.time()
        self._producer.flush()
        self._drain(phase)
        phase.ended = time.time()
        phase.turns_per_s = messages / (phase.ended - phase.began)
        return phase

    def _send(self) -> None:
        session = f"s{self.sent}"
        key = session.encode()
        self.sent += 1

        def confirmed(error: object, message: object) -> None:
            if error is None:
                known = message_id_at(message.topic(), message.partition(), message.offset())  # type: ignore[attr-defined]
                self.confirmed.add(turn_id_for(session, known))

        self._producer.produce(
            self._names.messages,
            b'{"text":"please say something nice now"}',
            key,
            partition_for(key, self._partitions),
            on_delivery=confirmed,
        )

    def _sample(self, phase: Phase) -> int:
        committed = sum(max(0, tp.offset) for tp in self._group.committed(self._tps, timeout=10.0))
        phase.rss_mib.append(self._worker.memory_info().rss // _MIB)
        phase.lag.append(self.sent - committed)
        return phase.lag[-1]

    def _drain(self, phase: Phase) -> None:
        last, moved = -1, time.monotonic()
        while (lag := self._sample(phase)) > 0:
            if lag != last:
                last, moved = lag, time.monotonic()
            if time.monotonic() - moved > _STALLED_S:
                raise SystemExit(f"nothing moved for {_STALLED_S:g} s with {lag} messages left")
            time.sleep(_SAMPLE_S)

    def close(self) -> None:
        """Release the clients."""
        self._group.close()


@contextmanager
def _worker(servers: str, names: TopicNames, args: argparse.Namespace, folder: Path) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.admitted", str(folder / "waits"), "worker", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "BARNABAS_PREFIX": names.prefix,
            "BARNABAS_PARTITIONS": str(args.partitions),
            "BARNABAS_MODEL": args.model,
            "BARNABAS_DATA_DIR": str(folder / "data"),
            "BARNABAS_LOG_LEVEL": "warning",
            "BARNABAS_CONSUMER__COMMIT_INTERVAL_S": "0.2",
        },
    )
    try:
        if not any("ready" in line for line in process.stdout or ()):
            raise SystemExit("the worker ended before it was ready")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _lost(servers: str, names: TopicNames, partitions: int, confirmed: set[str]) -> tuple[int, int]:
    """Return how many confirmed messages have no accepted outcome, by the checker's own fold, and how many failed."""
    reader, log = TopicReader(servers, names.events, partitions), LogFold()
    try:
        quiet = 0
        while quiet < _QUIET_POLLS:
            batch = reader.poll(1.0)
            reader.records.clear()
            quiet = 0 if batch else quiet + 1
            fold_log(batch, names.events, log)
    finally:
        reader.close()
    failed = sum(type(accepted.event).__name__ != "TurnCompleted" for accepted in log.outcomes.values())
    return len(confirmed - log.outcomes.keys()), failed


def _add_waits(phases: dict[str, Phase], path: Path) -> None:
    """Split the worker's notes by phase: turns admitted while the load ran."""
    waits = array("d")
    waits.frombytes(path.read_bytes())
    for phase in phases.values():
        seen = [waits[i + 1] * 1000 for i in range(0, len(waits), 2) if phase.began <= waits[i] <= phase.loaded]
        if len(seen) > 1:
            cuts = statistics.quantiles(seen, n=100)
            phase.first_token_p50_ms, phase.first_token_p99_ms = cuts[49], cuts[98]


def main() -> None:
    """Run the phases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="echo:20", help="such as echo:20@0.05 for a second a turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload; the drain takes FACTOR times as long")
    parser.add_argument("--factor", type=float, default=10.0)
    parser.add_argument("--calm-seconds", type=float, default=10.0, help="of the load at capacity")
    parser.add_argument("--share", type=float, default=0.9, help="of the sustainable rate that counts as capacity")
    parser.add_argument("--backlog", type=int, default=20_000, help="messages that show the sustainable rate")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = TopicNames("overload")
    with tempfile.TemporaryDirectory(prefix="barnabas-bench-") as temporary:
        folder = Path(temporary)
        broker = Broker(folder / "broker", stops_with_parent=True)
        servers = broker.start().bootstrap_servers
        try:
            ensure_topics(servers, catalog(names, partitions=args.partitions))
            with _worker(servers, names, args, folder) as process:
                load = Load(servers, names, args.partitions, process)
                load.run(args.backlog // 10, None)  # warm-up
                sustainable = load.run(args.backlog, None).turns_per_s
                calm = args.share * sustainable
                phases = {"capacity": load.run(int(calm * args.calm_seconds), calm)}
                rate = args.factor * sustainable
                phases["overload"] = load.run(int(rate * args.seconds), rate)
                load.close()
            _add_waits(phases, folder / "waits")
            lost, failed = _lost(servers, names, args.partitions, load.confirmed)
        finally:
            broker.stop()
    _report(args, sustainable, phases, messages=len(load.confirmed), lost=lost, failed=failed)


def _report(
    args: argparse.Namespace, sustainable: float, phases: dict[str, Phase], *, messages: int, lost: int, failed: int
) -> None:
    capacity, overload = phases["capacity"], phases["overload"]
    ratios = {
        "p50": overload.first_token_p50_ms / capacity.first_token_p50_ms,
        "p99": overload.first_token_p99_ms / capacity.first_token_p99_ms,
    }
    if args.json:
        machine = f"{os.cpu_count()} cores, {platform.machine()}"
        figures = {name: asdict(phase) for name, phase in phases.items()}
        results = {
            "machine": machine,
            "model": args.model,
            "sustainable": sustainable,
            "messages": messages,
            "lost": lost,
            "failed": failed,
            "phases": figures,
            "ratios": ratios,
        }
        print(json.dumps(results))
        return
    print(f"sustainable: {sustainable:.0f} turns/s ({args.model})")
    for name, phase in phases.items():
        print(
            f"{name:10}{phase.rate:8.0f} messages/s offered, {phase.turns_per_s:6.0f} turns/s; first token p50 "
            f"{phase.first_token_p50_ms:6.1f} ms, p99 {phase.first_token_p99_ms:6.1f} ms; "
            f"lag at most {max(phase.lag)}; memory {phase.rss_mib[0]} to {max(phase.rss_mib)} MiB"
        )
    print(f"first token, overload to capacity: p50 {ratios['p50']:.2f}, p99 {ratios['p99']:.2f} (goal: 2 or less)")
    print(f"of {messages} messages {lost} were lost and {failed} failed")


if __name__ == "__main__":
    main()
