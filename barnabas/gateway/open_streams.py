"""The streams that are open: counted, and ended in time when the gateway stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from barnabas.gateway.metrics import GatewayFigures


class OpenStreams:
    """Knows every response that lasts."""

    def __init__(self, figures: GatewayFigures) -> None:
        self._figures = figures
        self._resumable: dict[object, Callable[[], object]] = {}
        self._others: dict[object, Callable[[], object]] = {}
        self._is_stopping = self._is_over = False

    @property
    def is_stopping(self) -> bool:
        """Whether the gateway is on its way out: no stream should begin."""
        return self._is_stopping

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._resumable) + len(self._others)

    @contextmanager
    def opened(self, kind: str, end: Callable[[], object], *, is_resumable: bool) -> Iterator[None]:
        """Count a stream for as long as the ``with`` block lasts.

        Args:
            kind: Its label in the metrics.
            end: Called, on the event loop, to have the stream end; also at once where the gateway is stopping already.
            is_resumable: Its client can go on elsewhere: it ends as soon as the gateway stops. Others are given until
                ``gateway.drain_timeout_s`` is over.
        """
        place, name = (self._resumable if is_resumable else self._others), object()
        place[name] = end
        self._figures.streams[kind] += 1
        if self._is_over or (self._is_stopping and is_resumable):
            end()
        try:
            yield
        finally:
            self._figures.streams[kind] -= 1
            del place[name]

    def stop(self) -> None:
        """End those that can be resumed; repeatable."""
        self._is_stopping = True
        for end in [*self._resumable.values()]:
            end()

    def end_all(self) -> None:
        """End the others, too."""
        self.stop()
        self._is_over = True
        for end in [*self._others.values()]:
            end()
