"""The program's own trace context, where it has one."""

from __future__ import annotations

import sys


def current_traceparent() -> str | None:
    """Return the W3C ``traceparent`` of the running span; None without OpenTelemetry or without a span.

    A program that traces has imported OpenTelemetry already; for the others nothing is imported.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")
