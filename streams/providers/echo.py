"""The echo provider: the last user message back, word by word. For tests and benchmarks."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from schemas.errors import SettingsError
from streams.providers.protocol import ModelDelta, ModelUsage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from streams.providers.protocol import ModelRequest

# Every 16 deltas the loop gets its turn: often enough that a thousand echo turns interleave, seldom
# enough that the yield (about 1 µs with other tasks ready) does not show beside 16 deltas.
_YIELD_EVERY = 16
_WORD = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
_OPTIONS = re.compile(r"(?P<tokens>\d+)(?:@(?P<delay>\d+(?:\.\d+)?))?")


def split_words(text: str) -> list[str]:
    """Split into deltas of one word each with the space before it; joined, they are ``text`` again."""
    return _WORD.findall(text)


class EchoProvider:
    """Answers with the last user message, exactly; or with its words repeated to ``tokens`` tokens.

    ``delay_s`` is waited before every token. A message without words gives an empty answer.
    """

    name = "echo"

    def __init__(self, *, tokens: int | None = None, delay_s: float = 0.0) -> None:
        self._tokens = tokens
        self._delay_s = delay_s

    @classmethod
    def from_options(cls, options: str) -> EchoProvider:
        """Read the part behind ``echo:``, ``TOKENS`` or ``TOKENS@DELAY_SECONDS``; ``SettingsError`` else."""
        match = _OPTIONS.fullmatch(options)
        if match is None or int(match["tokens"]) == 0:
            message = f"BARNABAS_MODEL: echo:{options} is not echo:TOKENS or echo:TOKENS@SECONDS, such as echo:20@0.05"
            raise SettingsError(message)
        return cls(tokens=int(match["tokens"]), delay_s=float(match["delay"] or 0))

    async def warm(self) -> None:
        """Nothing to load."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Yield the words, then a last, empty delta with ``stop`` and the usage in words."""
        pieces = self._pieces(request.user_text)
        is_cut = request.max_tokens is not None and len(pieces) > request.max_tokens
        if is_cut:
            pieces = pieces[: request.max_tokens]
        delay_s = self._delay_s
        for index, piece in enumerate(pieces):
            if delay_s or index % _YIELD_EVERY == 0:
                await asyncio.sleep(delay_s)
            yield ModelDelta(piece)
        prompt_tokens = sum(message.content.count(" ") + 1 for message in request.messages)
        yield ModelDelta("", "length" if is_cut else "stop", ModelUsage(prompt_tokens, len(pieces)))

    async def close(self) -> None:
        """Nothing to release."""

    def _pieces(self, text: str) -> list[str]:
        if self._tokens is None:
            return split_words(text) if text.strip() else []
        words = text.split()
        if not words:
            return []
        repeated = [" " + words[index % len(words)] for index in range(self._tokens)]
        repeated[0] = words[0]
        return repeated
