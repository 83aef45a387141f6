"""The demo's conversation, and what the log tells about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from barnabas.client import Answer, Part, SyncClient
from barnabas.composition import build_agents
from barnabas.history.logged_event import LoggedEvent
from barnabas.settings import Settings
from schemas.events import TurnStarted
from streams.prompt import prompt_for
from streams.providers.protocol import ChatMessage
from topics.partitioner import partition_for, session_key

_ANSWER_TIMEOUT_S = 60.0


class Exchange(NamedTuple):
    """How a turn went.

    Attributes:
        answer: What was answered.
        first_token_s: From the publish call to the first text, in seconds.
        deltas: How many token records carried it.
    """

    answer: Answer
    first_token_s: float
    deltas: int


class Conversation:
    """One session on a running deployment; a context manager."""

    def __init__(self, settings: Settings, bootstrap_servers: str, session_id: str) -> None:
        self._settings = settings
        self._client = SyncClient(settings, bootstrap_servers=bootstrap_servers)
        self.session_id = session_id

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def say(self, text: str, show: Callable[[str], None]) -> Exchange:
        """Publish a message and hand on the answer's text as it comes; raises as ``Client.ask``."""
        arrivals: list[float] = []

        def hear(part: Part) -> None:
            if part.text:
                arrivals.append(time.monotonic() - began)
                show(part.text)

        began = time.monotonic()
        answer = self._client.ask(self.session_id, text, timeout=_ANSWER_TIMEOUT_S, on_token=hear)
        return Exchange(answer, arrivals[0] if arrivals else time.monotonic() - began, len(arrivals))

    def log(self) -> list[LoggedEvent]:
        """Read the session's partition of the log, from its first record to its end."""
        partition = partition_for(session_key(self.session_id), self._settings.partitions)
        return list(self._client.replay(partition=partition))

    def prompt_of_turn(self, number: int) -> tuple[ChatMessage, ...]:
        """Build the prompt of the session's turn ``number`` (from 1) from the log before its ``TurnStarted`` alone.

        The fold and the prompt are the functions that the worker's table and its turns use.
        """
        events = ((logged.offset, logged.event) for logged in self._client.events(self.session_id))
        started = [(offset, event) for offset, event in events if isinstance(event, TurnStarted)]
        offset, event = started[number - 1]
        session = self._client.session(self.session_id, at=offset - 1)
        return prompt_for(build_agents(self._settings)[event.agent], session, event.text)
