"""A chat's note of what is under way: kept as long as it may be followed again, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from barnabas.chat import Chat
from barnabas.client import Client, Part, Sent
from barnabas.cursor import Cursor
from schemas.errors import BrokerError, CursorError, CursorExpiredError


class BrokenClient:
    """Sends, and fails when the answer is read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def send(self, session_id: str, _text: str, **_more: Any) -> Sent:
        """Say that it is in Kafka."""
        return Sent(session_id, "m1", "t1", "messages", 0, 3, Cursor(0, 7))

    async def stream(self, _sent: Sent) -> AsyncIterator[Part]:
        """Fail."""
        raise self._error
        yield


def chat_of(error: Exception, folder: Path) -> Chat:
    """Make a chat."""
    return Chat(cast("Client", BrokenClient(error)), "ada", folder)


@pytest.mark.parametrize("error", [CursorExpiredError("gone", earliest="0:9:-1"), CursorError("of another partition")])
async def test_follow_forgets_what_is_gone(error: Exception, tmp_path: Path) -> None:
    """Or no chat of the session would ever begin again."""
    talk = chat_of(error, tmp_path)
    sent = await talk.send("hi")
    assert talk.unfinished() == sent
    with pytest.raises(type(error)):
        await talk.follow(sent, print)
    assert talk.unfinished() is None


async def test_follow_keeps_what_may_be_followed_again(tmp_path: Path) -> None:
    """Kafka is away: the answer is still there."""
    talk = chat_of(BrokerError("away"), tmp_path)
    sent = await talk.send("hi")
    with pytest.raises(BrokerError):
        await talk.follow(sent, print)
    assert talk.unfinished() == sent
