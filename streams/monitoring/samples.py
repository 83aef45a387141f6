"""Puts numbers into a catalog's metrics; light to import, for every process that has an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from prometheus_client.metrics_core import Metric

from streams.monitoring.catalog import MetricSpec
from streams.monitoring.histogram import Histogram

_Sample = tuple[Iterable[object], float]


def filled(spec: MetricSpec, samples: Iterable[_Sample]) -> Metric:
    """Return a metric with samples: label values, in the catalog's order, and a number."""
    family: Any = spec.family()
    for labels, value in samples:
        family.add_metric([*map(str, labels)], value)
    return cast("Metric", family)


def simple(spec: MetricSpec, value: float) -> Metric:
    """Return the one sample of a metric without labels."""
    return filled(spec, [((), value)])


def histograms(spec: MetricSpec, observed: Iterable[tuple[Iterable[str], Histogram]]) -> Metric:
    """Return a metric of histograms, each with its label values."""
    family: Any = spec.family()
    for labels, histogram in observed:
        family.add_metric([*labels], histogram.buckets(), histogram.sum)
    return cast("Metric", family)
