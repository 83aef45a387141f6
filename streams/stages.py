"""The stages of a turn, named and timed."""

from __future__ import annotations

import time
from enum import StrEnum


class Stage(StrEnum):
    """What a turn is doing, in order."""

    CONTEXT = "context"  #: Read the session, let its memory shrink.
    PROVIDERS = "context_providers"  #: Ask the agent's context providers.
    GENERATE = "generate"  #: The model call.
    TOOLS = "tools"  #: The tools that it asked for.
    RECORD = "record"  #: From the model's last token to the folded outcome.
    EVALUATE = "evaluate"  #: The agent's evaluators, after the answer.


class StageClock:
    """Wall time of each stage, in seconds."""

    __slots__ = ("_began", "seconds", "stage")

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = {}
        self.stage: Stage | None = None
        self._began = 0.0

    def enter(self, stage: Stage | None) -> None:
        """End the running stage and begin another (None: end)."""
        now = time.perf_counter()
        if self.stage is not None:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self._began
        self.stage, self._began = stage, now
