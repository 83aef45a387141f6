"""A model endpoint in a bad mood: slow, stalled, cut off, refusing, by its seed; each call's words are its own.

``python -m tests.chaos.model --seed 7 --calls calls.jsonl`` prints one JSON line with the base URL when ready. What
two calls of the same turn said can be told apart, so that a reader's mixed attempts show.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.support.model_server import STALL_AFTER, Mode, ModelServer, OpenAIWire

#: How often of a hundred calls; a stall ends at the caller's own limit.
_MOODS: Final[dict[Mode, int]] = {
    "normal": 80,
    "disconnect": 4,
    "rate_limited": 3,
    "server_error": 3,
    "truncated": 3,
    "stall": 2,
    "slow_first": 2,
    "malformed": 1,
    "error_event": 1,
    "empty": 1,
}
#: Moods of which nothing is seen in the first tokens.
_LATER: Final[frozenset[Mode]] = frozenset({"disconnect", "stall", "malformed", "error_event"})
#: How often a model that may call a tool does so before it answers.
_TOOL_RATE: Final = 0.15
_TOKENS: Final = (1, 14)

#: The mood in which all is said.
WHOLE: Final[Mode] = "normal"
_DELAY_S: Final = (0.0, 0.06)


class _CallWire(OpenAIWire):
    """Says its call's number in every token."""

    def __init__(self, call: int, *, calls_tool: bool) -> None:
        self._call, self._calls_tool = call, calls_tool

    def token(self, index: int) -> bytes:
        return self._chunk({"content": f" c{self._call}.{index}"}, None)

    def end(self, tokens: int) -> bytes:
        if not self._calls_tool:
            return super().end(tokens)
        function = {"name": "note", "arguments": json.dumps({"word": f"c{self._call}"})}
        call = {"index": 0, "id": f"call-{self._call}", "type": "function", "function": function}
        return (
            self.event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
            + self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
            + b"data: [DONE]\n\n"
        )


class MoodyModel(ModelServer):
    """Answers each call in a mood of its own, and writes it down."""

    def __init__(self, seed: int, calls: Path) -> None:
        super().__init__(keep_bodies=False)
        self._rng = random.Random(f"model {seed}")
        self._numbers = itertools.count()
        self._calls = calls

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        rng, call = self._rng, next(self._numbers)
        mood = rng.choices(list(_MOODS), list(_MOODS.values()))[0]
        tokens = rng.randint(*_TOKENS)
        if mood in _LATER and tokens <= STALL_AFTER:
            mood = WHOLE  # it has no time to show
        server = ModelServer(tokens=tokens, delay_s=rng.uniform(*_DELAY_S), mode=mood, keep_bodies=False)
        body = await request.json()
        said = body["messages"]
        asked = next((message["content"] for message in reversed(said) if message["role"] == "user"), "")
        is_answered = said[-1]["role"] == "tool"
        calls_tool = rng.random() < _TOOL_RATE and bool(body.get("tools")) and not is_answered
        line = {
            "call": call, "mood": mood, "tokens": server.tokens, "asked": asked, "is_second": is_answered,
            "time": time.time(),
        }  # fmt: skip
        with self._calls.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        return await server._answer(request, _CallWire(call, calls_tool=calls_tool))


async def _serve(model: MoodyModel) -> None:
    async with model.running():
        print(json.dumps({"event": "ready", "base_url": f"{model.url}/v1"}), flush=True)  # noqa: T201 -- its one output
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--calls", type=Path, required=True, help="file to which each call is appended")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(MoodyModel(options.seed, options.calls)))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
