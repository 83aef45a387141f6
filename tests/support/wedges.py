"""Things that hang for ever, each on purpose; a worker whose spec names one meets it at the message ``wedge``."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

#: The message that sets a wedge off.
TRIGGER = "wedge"


def _recovery() -> None:
    """The broker never says where the changelog ends; at once, without a message. The thread cannot be ended."""
    from state.changelog import ChangelogReader

    def highwaters(_self: Any, _partitions: Any, **_options: Any) -> Any:
        threading.Event().wait()

    ChangelogReader.highwaters = highwaters  # type: ignore[method-assign]


def _poll() -> None:
    """The consumer's thread goes on with its heartbeats and fetches nothing more."""
    from streams.consumer import LeasedConsumerThread

    fetch = LeasedConsumerThread._fetch_records

    async def fetch_once(self: Any, *args: Any, **options: Any) -> Any:
        records = await fetch(self, *args, **options)
        if any(tp.topic == self.consumer.bulk_topic for tp in records):
            await asyncio.Event().wait()
        return records

    LeasedConsumerThread._fetch_records = fetch_once  # type: ignore[method-assign]


def _lane() -> None:
    """A lane's task that no time-out and no cancellation ends."""
    from streams.partition import Partition

    decide = Partition._decide

    async def wedged(self: Any, incoming: Any) -> None:
        while incoming.command.text == TRIGGER:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        await decide(self, incoming)

    Partition._decide = wedged  # type: ignore[method-assign]


async def _block() -> None:
    time.sleep(3600)  # noqa: ASYNC251 -- the fault itself


async def _hold_the_interpreter() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")  # exponential, and without ever releasing the interpreter's lock


def _in_provider(hang: Callable[[], Any]) -> Callable[[], None]:
    def install() -> None:
        from streams.providers.scripted import ScriptedProvider

        stream = ScriptedProvider.stream

        async def wedged(self: Any, request: Any) -> AsyncGenerator[Any, None]:
            if request.user_text == TRIGGER:
                await hang()
            async for delta in stream(self, request):
                yield delta

        ScriptedProvider.stream = wedged  # type: ignore[method-assign]

    return install


WEDGES: dict[str, Callable[[], None]] = {
    "recovery": _recovery,
    "poll": _poll,
    "lane": _lane,
    "loop": _in_provider(_block),
    "interpreter": _in_provider(_hold_the_interpreter),
}
