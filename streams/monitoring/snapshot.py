"""What a worker looks like at one moment; taken on its event loop, so that nothing moves meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from faust.types import TP

if TYPE_CHECKING:
    from state.recovery import RecoveryProgress
    from state.store import SessionStore
    from streams.consumer import SessionConsumer
    from streams.environment import Environment
    from streams.ownership import Ownership

#: Summed over the partitions' databases.
_MEMORY: Final = {
    "memtables": "rocksdb.cur-size-all-mem-tables",
    "table_readers": "rocksdb.estimate-table-readers-mem",
}
#: One cache serves all of them.
_SHARED: Final = {"block_cache": "rocksdb.block-cache-usage", "block_cache_pinned": "rocksdb.block-cache-pinned-usage"}


class PartitionView(NamedTuple):
    """One owned partition; ``oldest_s`` is its oldest unfinished message's age in seconds, 0 for none."""

    number: int
    lanes: int
    begun: int
    oldest_s: float


class PlaceView(NamedTuple):
    """Where one consumed topic partition stands; ``high_water`` is None before its first fetch."""

    topic: str
    partition: int
    high_water: int | None
    handled: int
    done: int
    committed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A worker at one moment."""

    generation: int
    turns: int
    turns_waiting: int
    phases: dict[str, int]
    partitions: list[PartitionView]
    places: list[PlaceView]
    recovery: RecoveryProgress
    standby_lag: dict[int, int]
    admission_limit: int
    calls_left: int
    producer_queue: int
    unconfirmed: int
    rocksdb_memory: dict[str, int] = field(default_factory=dict)
    rocksdb_disk: int = 0
    rocksdb_keys: int = 0


def take_snapshot(
    env: Environment,
    ownership: Ownership,
    consumer: SessionConsumer | None,
    store: SessionStore,
    *,
    recovery: RecoveryProgress,
    standby_lag: dict[int, int],
    admission_limit: int,
) -> Snapshot:
    """Look; a few microseconds a partition. To be called on the worker's event loop.

    Args:
        env: The worker's collaborators.
        ownership: Its partitions.
        consumer: None before Faust made it.
        store: The session table's.
        recovery: The newest recovery.
        standby_lag: What the copies of other workers' partitions lack.
        admission_limit: How many turns may be under way.
    """
    cursors = consumer.cursors if consumer is not None else {}
    now = time.monotonic()
    partitions = []
    for number, partition in ownership.partitions.items():
        cursor = cursors.get(TP(env.names.messages, number))
        oldest = cursor.acks.oldest_since if cursor is not None else None
        age_s = now - oldest if oldest is not None else 0.0
        partitions.append(PartitionView(number, partition.lanes_at_work, partition.messages_begun, age_s))
    return Snapshot(
        generation=ownership.generation,
        turns=sum(partition.turns_begun for partition in ownership.partitions.values()),
        turns_waiting=sum(len(partition.waiting_for_slot) for partition in ownership.partitions.values()),
        phases=Counter(partition.phase.name.lower() for partition in ownership.partitions.values()),
        partitions=partitions,
        places=_places(env, consumer) if consumer is not None else [],
        recovery=recovery,
        standby_lag=dict(standby_lag),
        admission_limit=admission_limit,
        calls_left=env.calls.abandoned,
        producer_queue=env.publisher.backlog,
        unconfirmed=env.write_path.unconfirmed,
        rocksdb_memory={use: sum(store.properties(name)) for use, name in _MEMORY.items()}
        | {use: max(store.properties(name), default=0) for use, name in _SHARED.items()},
        rocksdb_disk=sum(store.properties("rocksdb.live-sst-files-size")),
        rocksdb_keys=sum(store.properties("rocksdb.estimate-num-keys")),
    )


def _places(env: Environment, consumer: SessionConsumer) -> list[PlaceView]:
    roles = {env.names.messages: "messages", env.names.control: "control", env.names.events: "events"}
    waters = consumer.high_waters()
    return [
        PlaceView(
            roles[tp.topic], tp.partition, waters.get(tp), cursor.handled, cursor.acks.watermark, cursor.committed
        )
        for tp, cursor in consumer.cursors.items()
    ]
