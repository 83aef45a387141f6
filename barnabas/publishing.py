"""Publishes what users say: the right partition, confirmed by the broker."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.commands import Command
from schemas.controls import Control
from schemas.errors import BrokerError
from schemas.headers import headers_for
from schemas.serdes import Codec
from topics.partitioner import partition_for

_SOURCE = "/barnabas/client"
_TIMEOUT_S = 30.0


class Published(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class MessagePublisher:
    """Writes commands and controls, one at a time, each confirmed.

    Args:
        bootstrap_servers: ``host:port[,host:port]``.
        codec: Encodes them.
        partitions: Of every topic.
        client_config: Further librdkafka settings.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        codec: Codec,
        *,
        partitions: int,
        client_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._servers = bootstrap_servers
        self._codec = codec
        self._partitions = partitions
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                # Idempotence would cost 500 ms at each start for its producer id (librdkafka 2.16: 510 ms to the first
                # confirmation, 8 ms without). One request at a time keeps the order, and message_id catches a repeat.
                "acks": "all",
                "max.in.flight": 1,
                "linger.ms": 0,
                "delivery.timeout.ms": int(_TIMEOUT_S * 1000),
                "log_level": 0,
                **(client_config or {}),
            }
        )

    def publish(self, topic: str, key: bytes, record: Command | Control) -> Published:
        """Write a record to its key's partition and wait for the broker's word.

        Raises:
            BrokerError: It was not confirmed; it may be in the topic all the same.
        """
        done = threading.Event()
        result: list[tuple[KafkaError | None, Message]] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            result.append((error, message))
            done.set()

        partition = partition_for(key, self._partitions)
        try:
            self._producer.produce(
                topic,
                self._codec.encode(record, topic=topic),
                key,
                partition,
                delivered,
                headers=list(headers_for(record, source=_SOURCE)),
            )
        except KafkaException as error:
            raise BrokerError(f"{topic}: the message was refused: {error.args[0].str()}") from error
        while not done.is_set():
            self._producer.poll(0.1)
        failure, message = result[0]
        if failure is not None:
            raise BrokerError(
                f"Kafka at {self._servers} did not confirm the message ({failure.str()}); "
                "send it again with the same --message-id: it is answered once"
            )
        return Published(topic, partition, message.offset() or 0)
