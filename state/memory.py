"""What a session remembers: a strategy decides, its decision is an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.session import MemoryEntry, Session

#: Characters a token stands for on average in English text (OpenAI's rule of thumb); an estimate is enough for a
#: budget, and unlike a tokenizer it is the same on every worker.
CHARS_PER_TOKEN = 4


class Compaction(NamedTuple):
    """Drop the entries below ``dropped_until`` (a sequence number); ``summary`` stands for them."""

    dropped_until: int
    summary: str


class MemoryStrategy(Protocol):
    """Decides, before a turn, whether the memory shrinks. Never asked twice about the same decision."""

    def compact(self, session: Session) -> Compaction | None:
        """Return what to drop, None to keep all."""


@dataclass(frozen=True, slots=True)
class RecentMessages:
    """Keep the newest messages within a budget.

    Attributes:
        max_tokens: Budget of the whole memory, in estimated tokens.
    """

    max_tokens: int = 1200

    def compact(self, session: Session) -> Compaction | None:
        """Drop the oldest entries beyond the budget; a turn's question and answer leave together."""
        budget = self.max_tokens
        for index in range(len(session.memory) - 1, -1, -1):
            budget -= estimated_tokens(session.memory[index])
            if budget < 0:
                return Compaction(_turn_boundary(session.memory, index + 1), session.summary)
        return None


def estimated_tokens(entry: MemoryEntry) -> int:
    """Estimate an entry's tokens from its length, with 4 for its role and separators."""
    return len(entry.text) // CHARS_PER_TOKEN + 4


def _turn_boundary(memory: tuple[MemoryEntry, ...], index: int) -> int:
    """Return the sequence number of the first entry at or behind ``index`` that begins a turn."""
    while 0 < index < len(memory) and memory[index].turn_id == memory[index - 1].turn_id:
        index += 1
    return memory[index].seq if index < len(memory) else memory[-1].seq + 1
