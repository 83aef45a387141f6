"""``GET /figures``: what the workers do, added up for a console."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import read_query, reply
from barnabas.gateway.gateway import gateway_of
from barnabas.gateway.naming import principal_of
from barnabas.gateway.operation import Reply, operation
from streams.monitoring.histogram import DURATION_S, FIRST_TOKEN_S
from streams.reading.views import WorkerFigures


class FiguresQuery(Struct, frozen=True, kw_only=True):
    """Which figures.

    Attributes:
        window_s: How far back rates and percentiles go, in seconds.
    """

    window_s: Annotated[int, Meta(ge=1, le=60)] = 10


class Distribution(Struct, frozen=True, kw_only=True):
    """A time's distribution, in seconds, as fine as its histogram; null where nothing was counted.

    Attributes:
        count: How many were counted.
        p50: Half of them took at most that.
        p90: Nine of ten.
        p99: Ninety-nine of a hundred.
    """

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class PartitionView(Struct, frozen=True, kw_only=True):
    """One partition and its owner.

    Attributes:
        partition: Its number.
        worker: Its owner.
        phase: ``open``, ``opening``, ``closed``, ``stopped``.
        epoch: Its epoch, -1 before it is open.
        lanes: Sessions with a message that runs or waits.
        oldest_s: Age of the oldest unfinished message in seconds, 0 for none.
        lag: Messages that are not done.
        backlog: Messages that were not begun.
        events_lag: Events that are not folded and confirmed.
    """

    partition: int
    worker: str
    phase: str
    epoch: int
    lanes: int
    oldest_s: float
    lag: int
    backlog: int
    events_lag: int


class WorkerView(Struct, frozen=True, kw_only=True):
    """One worker.

    Attributes:
        worker: Its name.
        is_ready: Whether it does all that its place in the group asks for.
        problems: Why it is not, a sentence each.
        turns_in_flight: Turns that run.
        turns_max: Turns that may run at once.
        turns_per_s: Turns it ended, a second.
        partitions: How many it owns.
        is_recovering: Whether it recovers.
        recovery_records: Records it has to read for that.
        recovery_records_read: ... and has read.
        disk_bytes: Size of its tables.
    """

    worker: str
    is_ready: bool
    problems: tuple[str, ...]
    turns_in_flight: int
    turns_max: int
    turns_per_s: float
    partitions: int
    is_recovering: bool
    recovery_records: int
    recovery_records_read: int
    disk_bytes: int


class FiguresView(Struct, frozen=True, kw_only=True):
    """A deployment at one moment.

    Attributes:
        at: Unix ms.
        window_s: How far back rates and percentiles go, in seconds; less where workers have run for less.
        turns_per_s: Turns that ended, a second.
        tokens_per_s: Tokens that models wrote for completed turns, a second.
        outcomes: Turns that ended, by outcome.
        time_to_first_token: From a lane taking a message up to its first token.
        turn_duration: From a lane taking a message up to its folded outcome.
        turns_in_flight: Turns that run.
        turns_total: Turns that ended since the workers began.
        dead_letters: Records put aside since the workers began.
        lag: Messages that are not done, of all partitions.
        partitions: Those that have an owner.
        unowned: Those that have none at the moment.
        workers: Those that answered.
        silent: Workers that did not.
    """

    at: int
    window_s: float
    turns_per_s: float
    tokens_per_s: float
    outcomes: dict[str, int]
    time_to_first_token: Distribution
    turn_duration: Distribution
    turns_in_flight: int
    turns_total: int
    dead_letters: int
    lag: int
    partitions: list[PartitionView]
    unowned: list[int]
    workers: list[WorkerView]
    silent: list[str]


@operation(
    "Show figures",
    tag="operation",
    scope="operate",
    query=FiguresQuery,
    replies={200: Reply(FiguresView, "The figures.")},
    refusals=(401, 403, 422, 503),
)
async def show_figures(request: Request) -> Response:
    """What the workers do, of all tenants, gathered from each of them now."""
    principal_of(request).require("operate")
    gateway, query = gateway_of(request), read_query(request, FiguresQuery)
    figures, silent = await gateway.reads.figures(query.window_s)
    return reply(figures_of(figures, silent, gateway.reads.partitions))


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/figures", show_figures, methods=["GET"])]


def figures_of(workers: Sequence[WorkerFigures], silent: list[str], partitions: int) -> FiguresView:
    """Add the workers' figures up."""
    owned = [
        PartitionView(
            partition=of.partition,
            worker=worker.worker,
            phase=of.phase,
            epoch=of.epoch,
            lanes=of.lanes,
            oldest_s=of.oldest_s,
            lag=of.lag,
            backlog=of.backlog,
            events_lag=of.events_lag,
        )
        for worker in workers
        for of in worker.partitions
    ]
    outcomes: dict[str, int] = {}
    for worker in workers:
        for name, number in worker.recent.outcomes.items():
            if number:
                outcomes[name] = outcomes.get(name, 0) + number
    return FiguresView(
        at=time.time_ns() // 1_000_000,
        window_s=max((worker.window_s for worker in workers), default=0.0),
        turns_per_s=round(sum(_rate(worker, sum(worker.recent.outcomes.values())) for worker in workers), 2),
        tokens_per_s=round(sum(_rate(worker, worker.recent.output_tokens) for worker in workers), 2),
        outcomes=outcomes,
        time_to_first_token=distribution([worker.recent.first_token for worker in workers], FIRST_TOKEN_S),
        turn_duration=distribution([worker.recent.duration for worker in workers], DURATION_S),
        turns_in_flight=sum(worker.turns_in_flight for worker in workers),
        turns_total=sum(sum(worker.total.outcomes.values()) for worker in workers),
        dead_letters=sum(worker.dead_letters for worker in workers),
        lag=sum(partition.lag for partition in owned),
        partitions=sorted(owned, key=lambda one: one.partition),
        unowned=sorted(set(range(partitions)) - {partition.partition for partition in owned}),
        workers=[_worker_view(worker) for worker in workers],
        silent=silent,
    )


def _worker_view(worker: WorkerFigures) -> WorkerView:
    return WorkerView(
        worker=worker.worker,
        is_ready=not worker.problems,
        problems=worker.problems,
        turns_in_flight=worker.turns_in_flight,
        turns_max=worker.turns_max,
        turns_per_s=round(_rate(worker, sum(worker.recent.outcomes.values())), 2),
        partitions=len(worker.partitions),
        is_recovering=worker.is_recovering,
        recovery_records=worker.recovery_records,
        recovery_records_read=worker.recovery_records_read,
        disk_bytes=worker.disk_bytes,
    )


def _rate(worker: WorkerFigures, number: int) -> float:
    return number / worker.window_s if worker.window_s > 0 else 0.0


def distribution(histograms: Sequence[Sequence[int]], bounds: Sequence[float]) -> Distribution:
    """Return the percentiles of histograms with the same buckets, each within its bucket by rule of three."""
    counts = [sum(numbers) for numbers in zip(*histograms, strict=True)] if histograms else []
    reached = [*accumulate(counts)]
    total = reached[-1] if reached else 0

    def quantile(share: float) -> float | None:
        if not total:
            return None
        rank = share * total
        index = next(number for number, upto in enumerate(reached) if upto >= rank)
        if index >= len(bounds):
            return bounds[-1]  # longer than the last bound: nothing more is known
        below = bounds[index - 1] if index else 0.0
        before = reached[index - 1] if index else 0
        within: float = (rank - before) / counts[index]
        return round(below + (bounds[index] - below) * within, 6)

    return Distribution(count=total, p50=quantile(0.5), p90=quantile(0.9), p99=quantile(0.99))
