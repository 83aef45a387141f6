"""A worker's figures for a console: what it did lately, and where its partitions stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.monitoring.snapshot import PlaceView
from streams.reading.recent import LONGEST_S, RecentFigures
from streams.reading.views import PartitionFigures, WorkerFigures

if TYPE_CHECKING:
    from streams.worker import Worker


def worker_figures(worker: Worker, recent: RecentFigures, window_s: float) -> WorkerFigures:
    """Look at a worker, on its event loop; ``window_s`` is how far back its counts go, a minute at most."""
    snapshot, window = worker.monitor.take(), recent.window(max(1.0, min(window_s, LONGEST_S)))
    places: dict[tuple[str, int], PlaceView] = {(place.topic, place.partition): place for place in snapshot.places}
    partitions = []
    for view in snapshot.partitions:
        messages, events = places.get(("messages", view.number)), places.get(("events", view.number))
        partition = worker.ownership.partitions[view.number]
        partitions.append(
            PartitionFigures(
                partition=view.number,
                phase=partition.phase.name.lower(),
                epoch=partition.epoch,
                lanes=view.lanes,
                oldest_s=round(view.oldest_s, 3),
                lag=_behind(messages, messages.done if messages else 0),
                backlog=_behind(messages, messages.handled if messages else 0),
                events_lag=_behind(events, events.done if events else 0),
            )
        )
    figures = worker.figures
    return WorkerFigures(
        worker=worker.name,
        problems=worker.monitor.readiness().problems,
        window_s=round(window.seconds, 3),
        recent=window.counts,
        total=recent.total(),
        turns_in_flight=snapshot.turns,
        turns_max=worker.options.limits.max_turns,
        dead_letters=sum(figures.dead_letters.values()),
        rejected=sum(figures.rejected.values()),
        epochs_opened=figures.epochs_opened,
        epochs_lost=figures.epochs_lost,
        disk_bytes=snapshot.rocksdb_disk,
        is_recovering=bool(snapshot.recovery.is_running),
        recovery_records=snapshot.recovery.records,
        recovery_records_read=snapshot.recovery.records_read,
        partitions=partitions,
    )


def _behind(place: PlaceView | None, offset: int) -> int:
    return 0 if place is None or place.high_water is None else max(0, place.high_water - offset)
