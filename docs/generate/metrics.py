"""The metrics of workers and gateways, from their catalogs."""

from __future__ import annotations

from collections.abc import Iterable

from barnabas.gateway.metrics import CATALOG as GATEWAY_CATALOG
from docs.generate.markdown import code, document, table
from streams.monitoring.catalog import CATALOG, MetricSpec

_INTRODUCTION = """\
Shown at each worker's `/metrics` in Prometheus's text format. A histogram's series end in `_bucket`, `_sum` and
`_count`. Metrics of `prometheus-client` about the process (`process_*`, `python_gc_*`) and those that tools and agents
make with `barnabas.metrics` stand beside them. How to use them: [watching it](../how-to/watching.md)."""

_GATEWAY = "Shown at each gateway's own `/metrics`, with the metrics about its process."


def page() -> str:
    """Return the page."""
    return document("Metrics", _INTRODUCTION, _table(CATALOG), "## Of the gateway", _GATEWAY, _table(GATEWAY_CATALOG))


def _table(catalog: Iterable[MetricSpec]) -> str:
    rows = [(code(m.name), m.kind, " ".join(map(code, m.labels)), m.help) for m in catalog]
    return table(("metric", "type", "labels", "meaning"), rows)
