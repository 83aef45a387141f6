"""Workers' figures added up."""

from __future__ import annotations

from typing import Any

import pytest

from barnabas.gateway.figures import distribution, figures_of
from streams.monitoring.figures import Figures
from streams.monitoring.histogram import DURATION_S, FIRST_TOKEN_S, Histogram
from streams.reading.recent import RecentFigures, subtract
from streams.reading.views import Counts, PartitionFigures, WorkerFigures


def worker(name: str, **fields: Any) -> WorkerFigures:
    """A worker with a partition."""
    counts = Counts(
        outcomes={"completed": 20, "failed": 0},
        output_tokens=100,
        first_token=[0] * (len(FIRST_TOKEN_S) + 1),
        duration=[0] * (len(DURATION_S) + 1),
    )
    partition = PartitionFigures(
        partition=int(name), phase="open", epoch=7, lanes=1, oldest_s=0.5, lag=3, backlog=1, events_lag=2
    )
    plain: dict[str, Any] = dict.fromkeys(
        ("dead_letters", "rejected", "epochs_opened", "epochs_lost", "disk_bytes", "recovery_records",
         "recovery_records_read"), 1
    )  # fmt: skip
    given = {
        "problems": (),
        "window_s": 10.0,
        "recent": counts,
        "total": counts,
        "turns_in_flight": 2,
        "turns_max": 100,
        "is_recovering": False,
        "partitions": [partition],
        **plain,
        **fields,
    }
    return WorkerFigures(worker=f"w{name}", **given)


def test_figures_add_workers_up() -> None:
    """Rates are each worker's own: one may have begun a second ago."""
    shown = figures_of([worker("0"), worker("2", window_s=5.0)], ["w9"], 4)
    assert (shown.turns_per_s, shown.tokens_per_s, shown.turns_total, shown.lag) == (6.0, 30.0, 40, 6)
    assert shown.outcomes == {"completed": 40}
    assert ([one.partition for one in shown.partitions], shown.unowned) == ([0, 2], [1, 3])
    assert (shown.silent, [one.turns_per_s for one in shown.workers]) == (["w9"], [2.0, 4.0])


def test_no_workers_are_no_figures() -> None:
    """A deployment without one is shown as it is."""
    shown = figures_of([], [], 2)
    assert (shown.turns_per_s, shown.window_s, shown.unowned, shown.time_to_first_token.p99) == (0.0, 0.0, [0, 1], None)


def test_distribution_is_that_of_all_histograms() -> None:
    """As Prometheus does it: a share of the bucket it falls into."""
    one, other = Histogram((1.0, 2.0, 4.0)), Histogram((1.0, 2.0, 4.0))
    for value in (0.5, 1.5, 1.5):
        one.observe(value)
    other.observe(3.0)
    found = distribution([one.counts, other.counts], one.bounds)
    assert (found.count, found.p50, found.p90) == (4, 1.5, pytest.approx(3.2))
    other.observe(100.0)
    assert distribution([other.counts], other.bounds).p99 == 4.0


def test_counts_subtract_outcome_by_outcome() -> None:
    """An outcome that is new since counts from 0."""
    before = Counts(outcomes={"completed": 1}, first_token=[1, 0], duration=[1])
    after = Counts(outcomes={"completed": 3, "failed": 1}, output_tokens=5, first_token=[1, 2], duration=[4])
    expected = Counts(outcomes={"completed": 2, "failed": 1}, output_tokens=5, first_token=[0, 2], duration=[3])
    assert subtract(after, before) == expected


def test_window_of_a_worker_that_just_began_is_what_there_is() -> None:
    """No sample yet, and nothing counted: no rate is made of it."""
    window = RecentFigures(Figures()).window(10.0)
    assert (window.seconds, window.counts.outcomes) == (0.0, {})
