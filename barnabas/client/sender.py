"""Sends commands and controls from an event loop, each confirmed by the broker."""

from __future__ import annotations

import asyncio
from typing import Final

from barnabas.client.tracing import current_traceparent
from barnabas.connection import Connection
from barnabas.publishing import IN_ORDER, Published
from schemas.commands import Command
from schemas.controls import Control
from schemas.errors import DeliveryUnknownError, RecordTooLargeError, WriteRefusedError
from schemas.headers import headers_for
from streams.producer import Record, RecordProducer
from topics.catalog import MAX_INPUT_BYTES

_SOURCE: Final = "/barnabas/client"


class Sender:
    """One producer on the running loop. ``send`` order is log order within a session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer = RecordProducer(
            {
                **IN_ORDER,
                "message.max.bytes": MAX_INPUT_BYTES,
                **connection.client_config,
            }
        )

    async def send(self, topic: str, key: bytes, record: Command | Control) -> Published:
        """Write a record to its key's partition and wait for the broker's word.

        Raises:
            EncodeError: A field does not fit.
            RecordTooLargeError: It is larger than the topic takes.
            WriteRefusedError: Kafka does not let this user write to the topic.
            DeliveryUnknownError: It was not confirmed; it may be in the topic all the same.
        """
        connection = self._connection
        partition = connection.partition_of(key)
        value = connection.codec.encode(record, topic=topic)
        headers = headers_for(record, source=_SOURCE, traceparent=current_traceparent())
        confirmed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def delivered(error: DeliveryUnknownError | None, offset: int) -> None:
            if confirmed.done():
                return
            if error is None:
                confirmed.set_result(offset)
            elif isinstance(error, RecordTooLargeError):
                text = f"{topic} takes records of at most {MAX_INPUT_BYTES} bytes, not {len(value)}; send less"
                confirmed.set_exception(RecordTooLargeError(text))
            elif isinstance(error, WriteRefusedError):
                confirmed.set_exception(error)
            else:
                text = (
                    f"Kafka at {connection.servers} did not confirm the record ({error}); "
                    "send it again with the same message_id: it is answered once"
                )
                confirmed.set_exception(DeliveryUnknownError(text))

        self._producer.send(Record(topic, partition, key, value, headers, delivered))
        return Published(topic, partition, await confirmed)

    async def close(self) -> None:
        """Wait for what is under way, and take no more."""
        await self._producer.close()
