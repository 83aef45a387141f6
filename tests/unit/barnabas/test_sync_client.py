"""The client that waits, while somebody presses Ctrl-C."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from barnabas.client.sync import SyncClient


class Endless:
    """A client whose log gives one event, and then waits for the next."""

    def __init__(self) -> None:
        self.is_replaying = False

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None:
        """Nothing to close."""

    async def replay(self, *_args: Any, **_options: Any) -> AsyncIterator[Any]:
        """Follow."""
        self.is_replaying = True
        try:
            yield "event"
            await asyncio.Event().wait()
        finally:
            self.is_replaying = False


@pytest.mark.timeout(30)
def test_ctrl_c_behind_a_step_s_beginning_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between handing a step to the loop and waiting for it.

    Hangs where closing waits for the step to end by itself.
    """
    hand_over, is_pressed = asyncio.run_coroutine_threadsafe, False

    def interrupted(work: Any, loop: Any) -> Any:
        future = hand_over(work, loop)
        if is_pressed:
            monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", hand_over)
            raise KeyboardInterrupt
        return future

    endless: Any = Endless()
    client = SyncClient()
    client._client = endless
    with client:
        events = client.replay("ada", follow=True)
        assert next(events) == "event"
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
        is_pressed = True
        with pytest.raises(KeyboardInterrupt):
            next(events)
        assert not endless.is_replaying
