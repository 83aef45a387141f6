"""Metrics of your own, for tools and agents: shown at each worker's ``/metrics`` beside its own figures.

::

    from barnabas import metrics

    LOOKUPS = metrics.counter("lookups_total", "Lookups by result.", labels=("result",))


    @metrics.timer("lookup_seconds", "Time of a lookup.")
    async def lookup(name: str) -> str:
        LOOKUPS.labels(result="hit").inc()
        ...

Asked for again, a metric is the one made first, so that modules may be imported twice. Safe from any thread.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_P = ParamSpec("_P")
_R = TypeVar("_R")
_M = TypeVar("_M", bound=MetricWrapperBase)

#: What the worker's own figures are called.
_RESERVED: Final = re.compile(r"(barnabas|process|python)_")

#: Upper bounds of a timer's buckets, in seconds: from a cache to a slow model.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

#: What the worker's endpoint shows.
REGISTRY: Final = CollectorRegistry()

_metrics: dict[str, tuple[tuple[object, ...], MetricWrapperBase]] = {}
_lock = threading.Lock()


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002 -- Prometheus's word
    """Return a number that only grows: ``.inc(amount)``, with ``labels`` behind ``.labels(name=value)``.

    Raises:
        ValueError: The name is reserved, or known with another type or other labels.
    """
    return _metric(Counter, name, help, labels)


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: A002 -- as counter
    """Return a number that goes up and down: ``.set(value)``, ``.inc()``, ``.dec()``.

    Raises:
        ValueError: As :func:`counter`.
    """
    return _metric(Gauge, name, help, labels)


def timer(
    name: str,
    help: str,  # noqa: A002 -- as counter
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = SECONDS,
) -> Timer:
    """Return a histogram of durations in seconds: a decorator, a context manager, ``.observe(seconds)``.

    Raises:
        ValueError: As :func:`counter`; other buckets are a clash as well.
    """
    return Timer(_metric(Histogram, name, help, labels, buckets=tuple(buckets)))


class Timer:
    """Times the functions it decorates and what runs in its ``time()``; also what ends with an exception."""

    def __init__(self, histogram: Histogram) -> None:
        """Take where the durations go."""
        self._histogram = histogram

    def labels(self, **values: str) -> Timer:
        """Return the timer of these labels."""
        return Timer(self._histogram.labels(**values))

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self._histogram.observe(seconds)

    @contextmanager
    def time(self) -> Iterator[None]:
        """Time the body of a ``with``; any number at once."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._histogram.observe(time.perf_counter() - began)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Decorate a function, or a coroutine function: its whole run is timed, waits included.

        Raises:
            TypeError: It is a generator, which runs between its steps as well; use :meth:`time` inside.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: time its parts with .time()")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed_coroutine(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                with self.time():
                    return await function(*args, **kwargs)

            return cast("Callable[_P, _R]", timed_coroutine)

        @functools.wraps(function)
        def timed(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self.time():
                return function(*args, **kwargs)

        return timed


def _metric(kind: type[_M], name: str, text: str, labels: Sequence[str], **options: Any) -> _M:
    if _RESERVED.match(name):
        raise ValueError(f"metric {name}: names that begin with barnabas_, process_ or python_ are the worker's own")
    if kind is Counter:
        name = name.removesuffix("_total") + "_total"
    shape = (kind.__name__.lower(), tuple(labels), *options.values())
    with _lock:
        known = _metrics.get(name)
        if known is None:
            known = _metrics[name] = shape, kind(name, text, labelnames=labels, registry=REGISTRY, **options)
        made_as, metric = known
    if made_as != shape or not isinstance(metric, kind):
        raise ValueError(f"metric {name} is a {_said(made_as)} already; here it is asked for as a {_said(shape)}")
    return metric


def _said(shape: tuple[object, ...]) -> str:
    kind, labels, *options = shape
    return f"{kind} with labels {labels}" + "".join(f" and buckets {option}" for option in options)
