"""The demo's conversation, and what the log tells about it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from barnabas.composition import build_agents
from barnabas.publishing import MessagePublisher
from barnabas.reader import ReadRecord, Start, TopicReader
from barnabas.settings import Settings
from barnabas.stream_fold import Change, ChangeKind
from barnabas.turn_reader import read_turn
from schemas.commands import UserMessage
from schemas.events import LogEvent, PartitionOpened, TurnStarted
from schemas.ids import turn_id_for
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from schemas.tokens import Token
from state.partition_fold import PartitionFold
from streams.prompt import prompt_for
from streams.providers.protocol import ChatMessage
from topics.partitioner import partition_for, session_key

_ANSWER_TIMEOUT_S = 60.0

LoggedEvent = tuple[ReadRecord, LogEvent]


class Answer(NamedTuple):
    """How a turn went.

    Attributes:
        outcome: Its terminal token.
        first_token_s: From the publish call to the first text, in seconds; None where none came.
    """

    outcome: Token
    first_token_s: float | None


class Conversation:
    """One session on a running deployment."""

    def __init__(self, settings: Settings, bootstrap_servers: str, session_id: str) -> None:
        self._settings = settings
        self._servers = bootstrap_servers
        self._codec = Codec(registry_url=settings.schema_registry_url)
        self._publisher = MessagePublisher(bootstrap_servers, self._codec, partitions=settings.partitions)
        self.session_id = session_id
        self._key = session_key(session_id)
        self._partition = partition_for(self._key, settings.partitions)

    def say(self, text: str, show: Callable[[str], None]) -> Answer:
        """Publish a message and hand on the answer's text as it comes; raises ``BrokerError``."""
        message_id = uuid.uuid4().hex
        began = 0.0
        first_token_s: list[float] = []

        def change(found: Change) -> None:
            if found.kind is ChangeKind.TEXT:
                first_token_s.append(time.monotonic() - began)
                show(found.text)

        with self._reader(self._settings.names.tokens, Start.END) as reader:
            began = time.monotonic()
            message = UserMessage(text=text, message_id=message_id)
            self._publisher.publish(self._settings.names.messages, self._key, message)
            outcome = read_turn(
                reader,
                self._codec,
                key=self._key,
                turn_id=turn_id_for(self.session_id, message_id),
                timeout_s=_ANSWER_TIMEOUT_S,
                show=change,
            )
        return Answer(outcome, first_token_s[0] if first_token_s else None)

    def log(self) -> list[LoggedEvent]:
        """Read the session's partition of the log, from its first record to its end."""
        topic = self._settings.names.events
        with self._reader(topic, Start.BEGINNING) as reader:
            return [(record, self._decoded(topic, record)) for record in reader.until_end()]

    def prompt_of_turn(self, number: int, log: list[LoggedEvent]) -> tuple[ChatMessage, ...]:
        """Build the prompt of the session's turn ``number`` (from 1) from the log before its ``TurnStarted`` alone.

        The fold and the prompt are the functions that the worker's table and its turns use.
        """
        fold = PartitionFold(PartitionState(partition=self._partition))
        session = Session(session_id=self.session_id)
        agents = build_agents(self._settings)
        for record, event in log:
            if isinstance(event, PartitionOpened):
                fold.open(event, offset=record.offset)
                continue
            if event.session_id != self.session_id:
                continue
            if isinstance(event, TurnStarted):
                number -= 1
                if number == 0:
                    return prompt_for(agents[event.agent], session, event.text)
            session, _ = fold.apply(session, event, offset=record.offset)
        return ()

    def _decoded(self, topic: str, record: ReadRecord) -> LogEvent:
        return self._codec.decode_event(record.value, topic=topic, partition=record.partition, offset=record.offset)

    @contextmanager
    def _reader(self, topic: str, start: Start) -> Iterator[TopicReader]:
        with TopicReader(self._servers, topic, start=start, partitions=[self._partition]) as reader:
            yield reader
