"""What the soak's sessions do: are made, used, sometimes cancelled, and erased."""

from __future__ import annotations

import asyncio
import itertools

from schemas.tokens import TokenKind
from tests.soak.driver import Driver

TURNS = 2

_AT_ONCE = 500

#: One session in so many has a running turn cancelled, and a cancel for a message that never comes.
CANCEL_EVERY = 10

#: One in so many has a turn that calls tools.
TOOLS_EVERY = 4


class Conversations:
    """Sessions of ever new names."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._numbers = itertools.count()
        #: How many sessions were made and dropped.
        self.done = 0

    async def hold(self, count: int) -> None:
        """Make, use and erase ``count`` new sessions at the same time.

        Raises:
            TimeoutError: One was not answered.
        """
        await asyncio.gather(*(self._session(next(self._numbers)) for _ in range(count)))
        self.done += count

    async def begin(self, count: int) -> None:
        """Make ``count`` sessions of one turn each that stay; raises as :meth:`hold`."""
        for _ in range(0, count, _AT_ONCE):
            names = [f"stays-{next(self._numbers)}" for _ in range(_AT_ONCE)]
            await asyncio.gather(*(self._driver.ask(name, f"{name}-0", "please say something nice") for name in names))
        self.done += count

    async def _session(self, number: int) -> None:
        session, driver = f"soak-{number}", self._driver
        for turn in range(TURNS):
            outcome = await driver.ask(session, f"{session}-{turn}", "please say something nice now")
            assert outcome is TokenKind.COMPLETED, f"{session}: {outcome}"
        if number % TOOLS_EVERY == 0:
            outcome = await driver.ask(session, f"{session}-tools", "what is it?", agent="tools")
            assert outcome is TokenKind.COMPLETED, f"{session}: {outcome}"
        if number % CANCEL_EVERY == 0:
            question = driver.publish(session, f"{session}-cancelled", text="take your time", agent="slow")
            await question.began
            driver.cancel(session, f"{session}-cancelled")
            driver.cancel(session, f"{session}-never-sent")
            assert await driver.outcome(question) is TokenKind.CANCELLED
        await driver.erase(session, f"{session}-erased")
