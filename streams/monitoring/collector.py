"""Fills the catalog's metrics from counts and snapshot when the endpoint is asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from streams.monitoring import catalog
from streams.monitoring.catalog import CATALOG
from streams.monitoring.figures import Figures
from streams.monitoring.samples import filled, histograms, simple
from streams.monitoring.snapshot import Snapshot


def worker_metrics(figures: Figures, snapshot: Snapshot | None) -> Iterator[Metric]:
    """Yield a worker's metrics; what only a snapshot shows is left out while there is none."""
    yield from _turns(figures)
    yield simple(catalog.EPOCHS_OPENED, figures.epochs_opened)
    yield simple(catalog.EPOCHS_LOST, figures.epochs_lost)
    yield filled(catalog.REJECTED, (((verdict,), n) for verdict, n in [*figures.rejected.items()]))
    yield filled(catalog.DEAD_LETTERS, [*figures.dead_letters.items()])
    yield histograms(catalog.LOOP_DELAY, [((), figures.loop_delay)])
    if snapshot is not None:
        yield from _state(snapshot)
        yield from _recovery(snapshot)
        yield from _places(snapshot)


def _turns(figures: Figures) -> Iterator[Metric]:
    agents = [*figures.agents.items()]
    yield filled(catalog.TURNS, (((name, what), n) for name, of in agents for what, n in [*of.outcomes.items()]))
    yield filled(
        catalog.TURN_FAILURES, (((name, cause), n) for name, of in agents for cause, n in [*of.failures.items()])
    )
    yield filled(
        catalog.MODEL_TOKENS,
        (
            ((name, kind), n)
            for name, of in agents
            for kind, n in (("input", of.input_tokens), ("output", of.output_tokens))
        ),
    )
    yield filled(catalog.TOKEN_RECORDS, (((name,), of.token_records) for name, of in agents))
    yield histograms(catalog.TURN_DURATION, (((name,), of.duration) for name, of in agents))
    yield histograms(catalog.FIRST_TOKEN, (((name,), of.first_token) for name, of in agents))


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    yield simple(catalog.GENERATION, snapshot.generation)
    yield simple(catalog.TURNS_IN_FLIGHT, snapshot.turns)
    yield simple(catalog.TURNS_WAITING, snapshot.turns_waiting)
    yield filled(catalog.PARTITIONS, (((phase,), n) for phase, n in snapshot.phases.items()))
    yield filled(catalog.LANES, (((p.number,), p.lanes) for p in snapshot.partitions))
    yield filled(catalog.MESSAGES_BEGUN, (((p.number,), p.begun) for p in snapshot.partitions))
    yield filled(catalog.OLDEST, (((p.number,), p.oldest_s) for p in snapshot.partitions))
    yield filled(catalog.STANDBY_LAG, (((number,), lag) for number, lag in snapshot.standby_lag.items()))
    yield simple(catalog.ADMISSION_LIMIT, snapshot.admission_limit)
    yield simple(catalog.CALLS_LEFT, snapshot.calls_left)
    yield simple(catalog.PRODUCER_QUEUE, snapshot.producer_queue)
    yield simple(catalog.UNCONFIRMED, snapshot.unconfirmed)
    yield filled(catalog.ROCKSDB_MEMORY, (((use,), size) for use, size in snapshot.rocksdb_memory.items()))
    yield simple(catalog.ROCKSDB_DISK, snapshot.rocksdb_disk)
    yield simple(catalog.ROCKSDB_KEYS, snapshot.rocksdb_keys)


def _recovery(snapshot: Snapshot) -> Iterator[Metric]:
    recovery = snapshot.recovery
    yield simple(catalog.RECOVERING, recovery.is_running)
    yield simple(catalog.RECOVERIES, recovery.number)
    yield simple(catalog.RECOVERY_PARTITIONS, recovery.partitions)
    yield simple(catalog.RECOVERY_RECORDS, recovery.records)
    yield simple(catalog.RECOVERY_READ, recovery.records_read)
    yield simple(catalog.RECOVERY_SECONDS, recovery.seconds)


def _places(snapshot: Snapshot) -> Iterator[Metric]:
    places = snapshot.places
    fetched = [(place, place.high_water) for place in places if place.high_water is not None]
    yield filled(catalog.HIGH_WATER, (((p.topic, p.partition), water) for p, water in fetched))
    yield filled(catalog.LAG, (((p.topic, p.partition), max(0, water - p.done)) for p, water in fetched))
    yield filled(catalog.BACKLOG, (((p.topic, p.partition), max(0, water - p.handled)) for p, water in fetched))
    yield filled(catalog.COMMITTED, (((p.topic, p.partition), p.committed) for p in places))


def described() -> Iterator[Metric]:
    """Yield the catalog's families, empty: what a registry asks for before anything is collected."""
    return (spec.family() for spec in CATALOG)
