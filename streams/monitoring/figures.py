"""What a worker counts as it works: plain numbers, written on the event loop, read when somebody asks.

A turn writes here once, at its end; what can be looked up when it is asked for (lanes, lag, memory) is not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from schemas.events import (
    MessageMerged,
    MessageQueued,
    MessageRejected,
    Outcome,
    SessionErased,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnSuspended,
)
from streams.monitoring.histogram import DURATION_S, FIRST_TOKEN_S, LOOP_DELAY_S, Histogram

if TYPE_CHECKING:
    from streams.token_stream import TokenStream

_OUTCOMES: Final[dict[type, str]] = {
    TurnCompleted: "completed",
    TurnFailed: "failed",
    TurnCancelled: "cancelled",
    TurnSuspended: "suspended",
    SessionErased: "erased",
    MessageMerged: "merged",
    MessageQueued: "queued",
    MessageRejected: "rejected",
}


class AgentFigures:
    """One agent's turns."""

    __slots__ = ("duration", "failures", "first_token", "input_tokens", "outcomes", "output_tokens", "token_records")

    def __init__(self) -> None:
        #: Turns by outcome, and the failed ones by cause.
        self.outcomes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        #: As the model counts them.
        self.input_tokens = self.output_tokens = 0
        #: Delta records sent to readers.
        self.token_records = 0
        self.first_token = Histogram(FIRST_TOKEN_S)
        self.duration = Histogram(DURATION_S)


class Figures:
    """A worker's counts since it began."""

    def __init__(self) -> None:
        self.agents: dict[str, AgentFigures] = {}
        #: By the topic's role (``messages``, ``control``, ``events``) and cause.
        self.dead_letters: Counter[tuple[str, str]] = Counter()
        #: Records of the log that the fold did not apply, by verdict.
        self.rejected: Counter[str] = Counter()
        self.epochs_opened = 0
        self.epochs_lost = 0
        #: How much later than asked for the event loop came back, in seconds.
        self.loop_delay = Histogram(LOOP_DELAY_S)

    def turn_ended(self, agent: str, outcome: Outcome, began: float, stream: TokenStream | None) -> None:
        """Count a turn whose outcome is folded; ``began`` is ``time.perf_counter()`` when its lane took it up."""
        figures = self.agents.get(agent)
        if figures is None:
            figures = self.agents[agent] = AgentFigures()
        figures.outcomes[_OUTCOMES[type(outcome)]] += 1
        figures.duration.observe(time.perf_counter() - began)
        if stream is not None and stream.deltas:
            figures.token_records += stream.deltas
            figures.first_token.observe(stream.first_delta_at - began)
        if isinstance(outcome, TurnCompleted):
            figures.input_tokens += outcome.usage.prompt_tokens
            figures.output_tokens += outcome.usage.completion_tokens
        elif isinstance(outcome, TurnFailed):
            figures.failures[outcome.cause] += 1
