"""What a worker did lately: its counts, kept once a second for a minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from typing import Final, NamedTuple

from streams.monitoring.figures import Figures
from streams.monitoring.histogram import DURATION_S, FIRST_TOKEN_S
from streams.reading.views import Counts

_TICK_S: Final = 1.0

#: The longest time that can be asked for.
LONGEST_S: Final = 60


class Window(NamedTuple):
    """Counts of the last ``seconds``."""

    seconds: float
    counts: Counts


class RecentFigures:
    """Samples a worker's counts on its event loop."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._samples: deque[tuple[float, Counts]] = deque(maxlen=LONGEST_S + 1)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._samples.append((time.monotonic(), self.total()))
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self.start)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def total(self) -> Counts:
        """Return the counts since the worker began."""
        counts = Counts(first_token=[0] * (len(FIRST_TOKEN_S) + 1), duration=[0] * (len(DURATION_S) + 1))
        outcomes: Counter[str] = Counter()
        for agent in self._figures.agents.values():
            outcomes.update(agent.outcomes)
            counts.input_tokens += agent.input_tokens
            counts.output_tokens += agent.output_tokens
            counts.token_records += agent.token_records
            counts.first_token = _sum(counts.first_token, agent.first_token.counts)
            counts.duration = _sum(counts.duration, agent.duration.counts)
        counts.outcomes = dict(outcomes)
        return counts

    def window(self, seconds: float) -> Window:
        """Return the counts of the last ``seconds``, or of as long as the worker has run."""
        now, total = time.monotonic(), self.total()
        since, before = next(
            (sample for sample in reversed(self._samples) if now - sample[0] >= seconds),
            self._samples[0] if self._samples else (now, total),
        )
        return Window(now - since, subtract(total, before))


def subtract(after: Counts, before: Counts) -> Counts:
    """Return what came between two counts."""
    return Counts(
        outcomes={name: number - before.outcomes.get(name, 0) for name, number in after.outcomes.items()},
        input_tokens=after.input_tokens - before.input_tokens,
        output_tokens=after.output_tokens - before.output_tokens,
        token_records=after.token_records - before.token_records,
        first_token=[a - b for a, b in zip(after.first_token, before.first_token, strict=True)],
        duration=[a - b for a, b in zip(after.duration, before.duration, strict=True)],
    )


def _sum(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
