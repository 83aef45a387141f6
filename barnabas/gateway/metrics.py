"""The gateway's own figures, and their shape for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.monitoring.catalog import MetricSpec
from streams.monitoring.histogram import DURATION_S, FIRST_TOKEN_S, Histogram
from streams.monitoring.samples import filled, histograms

REQUESTS = MetricSpec(
    "barnabas_gateway_requests_total", "counter", "Requests that were answered.", ("route", "method", "status")
)
REQUEST_DURATION = MetricSpec(
    "barnabas_gateway_request_duration_seconds", "histogram", "From a request to its response's end.", ("route",)
)
FIRST_BYTE = MetricSpec(
    "barnabas_gateway_first_token_seconds", "histogram", "From a request for an answer to its first token.", ("kind",)
)
STREAMS = MetricSpec("barnabas_gateway_open_streams", "gauge", "Streams that are open.", ("kind",))
READS = MetricSpec(
    "barnabas_gateway_reads_total",
    "counter",
    "Reads of a session, or of a list of a partition's, by where they were answered: owner or log.",
    ("source",),
)

CATALOG: Final = (REQUESTS, REQUEST_DURATION, FIRST_BYTE, STREAMS, READS)


class GatewayFigures(Collector):
    """Counts on the event loop; read by whoever asks for ``/metrics``."""

    def __init__(self) -> None:
        #: By route, method and status.
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.streams: Counter[str] = Counter()
        #: By source.
        self.reads: Counter[str] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._first_tokens: dict[str, Histogram] = {}

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests[route, method, status] += 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = Histogram(DURATION_S)
        durations.observe(seconds)

    def first_token(self, kind: str, seconds: float) -> None:
        """Count a time to first token."""
        if kind not in self._first_tokens:
            self._first_tokens[kind] = Histogram(FIRST_TOKEN_S)
        self._first_tokens[kind].observe(seconds)

    def describe(self) -> Iterator[Metric]:
        """Yield the families, empty."""
        return (spec.family() for spec in CATALOG)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield filled(REQUESTS, [*self.requests.items()])
        yield histograms(REQUEST_DURATION, [((route,), of) for route, of in self._durations.items()])
        yield histograms(FIRST_BYTE, [((kind,), of) for kind, of in self._first_tokens.items()])
        yield filled(STREAMS, [((kind,), n) for kind, n in self.streams.items()])
        yield filled(READS, [((source,), n) for source, n in [*self.reads.items()]])
