"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: How long a test waits for whatever has to come, in seconds: no machine is so busy, and who passes pays nothing.
DEADLINE_S: Final = 60.0


async def eventually(condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
    """Let the loop run until ``condition()``; raises ``TimeoutError``."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.001)
