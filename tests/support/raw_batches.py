"""Writes records that no client would: header names of any bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

#: key, value, headers; a header's name is bytes here.
RawRecord = tuple[bytes | None, bytes | None, Sequence[tuple[bytes, bytes | None]]]

_BATCH_BYTES = 1_000_000


class RawName(str):
    """A header name whose bytes need not be UTF-8."""

    raw: bytes
    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        """Take the bytes."""
        made = super().__new__(cls, raw.decode("utf-8", "replace"))
        made.raw = raw
        return made

    def encode(self, *_args: Any, **_kwargs: Any) -> bytes:
        """Give the bytes back."""
        return self.raw


def build_batch(records: Sequence[RawRecord], *, compression: int = 0) -> bytes:
    """One batch of offsets 0 and up, as a producer sends it and a broker stores it."""
    return bytes(_builder(records, compression, timestamp_ms=1).build())


async def produce_batch(
    bootstrap_servers: str, topic: str, partition: int, records: Sequence[RawRecord], *, compression: str | None = None
) -> list[int]:
    """Write records as one batch; returns their offsets."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, compression_type=compression)
    try:
        await producer.start()
        batch = producer.create_batch()
        now_ms = time.time_ns() // 1_000_000  # the broker's retention goes by it
        batch._builder = _builder(records, producer._message_accumulator._compression_type, timestamp_ms=now_ms)
        batch._relative_offset = len(records)
        batch.close()
        first = await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()  # where it could not start, too
    return [first.offset + number for number in range(len(records))]


def _builder(records: Sequence[RawRecord], compression: int, *, timestamp_ms: int) -> _DefaultRecordBatchBuilderPy:
    builder = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=_BATCH_BYTES,
    )
    for offset, (key, value, headers) in enumerate(records):
        named = [(RawName(name), content) for name, content in headers]
        assert builder.append(offset, timestamp_ms, key, value, named) is not None, "the batch is full"
    return builder
