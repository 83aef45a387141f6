"""A scripted model that the test lets go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from streams.providers.protocol import ModelDelta, ModelRequest
from streams.providers.scripted import Script, ScriptedProvider


class GatedProvider(ScriptedProvider):
    """Follows its script; a text that begins with ``gated`` gets its first word at once, the rest behind the gate."""

    def __init__(self, script: Script, *, calls_path: Path) -> None:
        """Take the script and where calls are written down; the gate is shut."""
        super().__init__(script, calls_path=calls_path)
        self.gate = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Yield the script's deltas."""
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                yield delta
                if request.user_text.startswith("gated"):
                    await self.gate.wait()
