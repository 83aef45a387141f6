"""Writes typed records to the deployment's topics: names, codec, headers and producer in one place."""

from __future__ import annotations

from schemas.dead_letters import DeadLetter
from schemas.events import LogEvent
from schemas.headers import headers_for
from schemas.serdes import Codec
from schemas.tokens import Token
from streams.producer import Headers, OnDelivery, Record, RecordProducer
from topics.names import TopicNames


class Publisher:
    """What a partition's owner writes. ``send`` order is log order within a partition."""

    def __init__(self, producer: RecordProducer, codec: Codec, names: TopicNames, *, source: str) -> None:
        """Take the collaborators; ``source`` is the CloudEvents source, such as ``/barnabas/worker-1``."""
        self._producer = producer
        self._codec = codec
        self._names = names
        self._source = source

    def event(
        self,
        partition: int,
        key: bytes | None,
        event: LogEvent,
        on_delivery: OnDelivery | None,
        traceparent: str | None = None,
    ) -> None:
        """Append a decision to the log."""
        self._send(self._names.events, partition, key, event, on_delivery, traceparent)

    def token(
        self, partition: int, key: bytes, token: Token, on_delivery: OnDelivery | None, traceparent: str | None = None
    ) -> None:
        """Send a token to the turn's readers."""
        self._send(self._names.tokens, partition, key, token, on_delivery, traceparent)

    def dead_letter(self, partition: int, letter: DeadLetter, on_delivery: OnDelivery) -> None:
        """Put a record aside, whole, with its cause."""
        self._send(self._names.dead_letters, partition, letter.key, letter, on_delivery, None)

    def changelog(self, partition: int, key: bytes, value: bytes, on_delivery: OnDelivery) -> None:
        """Write a table value to the changelog."""
        self._producer.send(Record(self._names.changelog, partition, key, value, [], on_delivery))

    def forward(self, record: Record) -> None:
        """Write a record as it is: a message on its way to the right partition."""
        self._producer.send(record)

    @property
    def gather_s(self) -> float:
        """How long records are gathered at present, in seconds: the measure of load."""
        return self._producer.gather_s

    @property
    def backlog(self) -> int:
        """How many records are sent and not confirmed."""
        return self._producer.backlog

    def purge(self) -> None:
        """Drop what is queued and was not sent (R2)."""
        self._producer.purge()

    def _send(  # noqa: PLR0917 -- the hot path, private
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        record: LogEvent | Token | DeadLetter,
        on_delivery: OnDelivery | None,
        traceparent: str | None,
    ) -> None:
        headers: Headers = headers_for(record, source=self._source, traceparent=traceparent)
        value = self._codec.encode(record, topic=topic)
        self._producer.send(Record(topic, partition, key, value, headers, on_delivery))
