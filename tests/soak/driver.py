"""A client that keeps nothing of what is over: asks, and waits for the terminal token."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Self

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from schemas.serdes import Codec
from schemas.tokens import TERMINAL_KINDS, Token, TokenKind
from topics.names import TopicNames
from topics.partitioner import partition_for

_POLL_S = 0.002
_BATCH = 1000

#: Longest wait for a message's outcome, queues included.
ANSWER_TIMEOUT_S = 60.0


class Question:
    """A message under way: when it was published, when its answer began, and how it ended."""

    __slots__ = ("began", "ended", "published_at")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.published_at = time.monotonic()
        self.began: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[TokenKind] = loop.create_future()


class Driver:
    """Publishes to a deployment and follows its tokens, all in the running loop."""

    def __init__(self, bootstrap_servers: str, names: TopicNames, partitions: int) -> None:
        client = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        self._names, self._partitions = names, partitions
        self._codec = Codec()
        self._questions: dict[str, Question] = {}
        self._producer = Producer({**client, "linger.ms": 1, "acks": "all", "enable.idempotence": True})
        self._consumer = Consumer({**client, "group.id": "soak", "fetch.wait.max.ms": 10, "enable.auto.commit": False})
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._consumer.assign([TopicPartition(self._names.tokens, p, OFFSET_END) for p in range(self._partitions)])
        # The end is looked up by the first poll: what is published before it would not be seen.
        await asyncio.to_thread(self._consumer.consume, 1, 0.5)
        self._pump = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_args: object) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await asyncio.to_thread(self._producer.flush, 10.0)
        self._consumer.close()

    # -- Publishing

    def publish(self, session: str, message_id: str, **fields: object) -> Question:
        """Publish a message and say what to wait for."""
        question = self._questions[message_id] = Question()
        self._produce(self._names.messages, session, {"message_id": message_id, **fields})
        return question

    async def ask(self, session: str, message_id: str, text: str, **fields: object) -> TokenKind:
        """Publish a message and wait for its outcome; raises ``TimeoutError``."""
        return await self.outcome(self.publish(session, message_id, text=text, **fields))

    async def erase(self, session: str, message_id: str) -> TokenKind:
        """Have the session's memory forgotten; raises as :meth:`ask`."""
        return await self.outcome(self.publish(session, message_id, type="erase"))

    def cancel(self, session: str, message_id: str) -> None:
        """Have a message's turn cancelled."""
        self._produce(self._names.control, session, {"type": "cancel", "message_id": message_id})

    @staticmethod
    async def outcome(question: Question) -> TokenKind:
        """Wait for a published message's outcome; raises as :meth:`ask`."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await question.ended

    def _produce(self, topic: str, session: str, body: dict[str, Any]) -> None:
        key = session.encode()
        self._producer.produce(topic, json.dumps(body).encode(), key, partition_for(key, self._partitions))
        self._producer.poll(0)

    # -- Following

    async def _follow(self) -> None:
        while True:
            for message in self._consumer.consume(_BATCH, 0):
                if message.error() is None:
                    self._take(message.topic(), message.partition(), message.offset(), message.value())
            self._producer.poll(0)
            await asyncio.sleep(_POLL_S)

    def _take(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        token: Token = self._codec.decode_token(value, topic=topic, partition=partition, offset=offset)
        question = self._questions.get(token.message_id)
        if question is None:
            return
        if token.kind is TokenKind.DELTA and not question.began.done():
            question.began.set_result(time.monotonic() - question.published_at)
        if token.kind in TERMINAL_KINDS:
            del self._questions[token.message_id]
            if not question.ended.done():
                question.ended.set_result(token.kind)
            question.began.cancel()
