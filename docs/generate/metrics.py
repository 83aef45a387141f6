"""A worker's metrics, from their catalog."""

from __future__ import annotations

from docs.generate.markdown import code, document, table
from streams.monitoring.catalog import CATALOG

_INTRODUCTION = """\
Shown at each worker's `/metrics` in Prometheus's text format. A histogram's series end in `_bucket`, `_sum` and
`_count`. Metrics of `prometheus-client` about the process (`process_*`, `python_gc_*`) and those that tools and agents
make with `barnabas.metrics` stand beside them. How to use them: [watching it](../how-to/watching.md)."""


def page() -> str:
    """Return the page."""
    rows = [(code(m.name), m.kind, " ".join(map(code, m.labels)), m.help) for m in CATALOG]
    return document("Metrics", _INTRODUCTION, table(("metric", "type", "labels", "meaning"), rows))
