"""Unpacks fetched batches to the last record, whatever a publisher put into them.

C1: aiokafka 0.14.0 raises ``UnicodeDecodeError`` out of ``PartitionRecords._unpack_records`` for a record whose header
name is not UTF-8, which the broker takes. That ends the consumer, and the next worker's, at the same offset for ever.
Here such a batch is unpacked a second time, by hand, and a record that cannot be read is delivered as an
:class:`UnreadableRecord` in its place; its neighbours are delivered as usual.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from typing import Any, ClassVar, Final, NamedTuple

import aiokafka.consumer.fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint

from streams.delivery import CORRUPT_BATCH, UNDECODABLE_HEADERS, UnreadableRecord

logger = logging.getLogger(__name__)

_UTF8 = "utf-8"
_ESCAPED = "surrogateescape"


class KeptRecords(MemoryRecords):
    """aiokafka's batches of one fetched partition, and the bytes they are read from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data
        #: How many batches were taken.
        self.taken = 0

    def next_batch(self) -> Any:
        """Return the next batch, None behind the last."""
        self.taken += 1
        return super().next_batch()


class TolerantRecords(aiokafka.consumer.fetcher.PartitionRecords):
    """aiokafka's records of one fetched partition, without an end at the first bad one."""

    #: Where a batch was damaged when it was fetched last: on the wire, perhaps.
    damaged: ClassVar[dict[Any, int]] = {}

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        while True:
            try:
                yield from super()._unpack_records()
            except UnsupportedCodecError:
                raise  # this installation lacks a library; the records are sound
            except Exception as error:
                batch = _batch(self._records.data, self._records.taken, self.next_fetch_offset)
                if batch is None or (batch.is_sound and batch.is_control):
                    raise
                if not batch.is_sound and self.damaged.get(self._tp) != self.next_fetch_offset:
                    self.damaged[self._tp] = self.next_fetch_offset
                    return  # fetched once more
                yield from self._unpack_again(batch, error)
                if not batch.is_sound:
                    return  # where the next batch begins is not to be trusted, either
            else:
                return

    def _unpack_again(self, batch: Batch, error: Exception) -> Iterator[Any]:
        """Yield the rest of a batch, record by record."""
        tp, first = self._tp, self.next_fetch_offset
        try:
            if not batch.is_sound:
                raise CorruptRecordException("its checksum is wrong")  # noqa: TRY301 -- handled as other damage is
            records = [record for record in _records_of(batch.data) if record.offset >= first]
        except UnsupportedCodecError:
            raise
        except Exception as damage:
            logger.error("%s-%d@%d: the batch cannot be unpacked", *tp, first, exc_info=error)  # noqa: TRY400 -- the first
            for offset in range(batch.begin, batch.end if batch.is_dense else batch.begin + 1):
                self.next_fetch_offset = offset + 1
                yield UnreadableRecord(
                    topic=tp.topic,
                    partition=tp.partition,
                    offset=offset,
                    cause=CORRUPT_BATCH,
                    detail=f"the batch of offset {first} cannot be unpacked: {damage}",
                    value=batch.data if offset == batch.begin else None,
                )
            self.next_fetch_offset = batch.end
            return
        for record in records:
            self.next_fetch_offset = record.offset + 1
            bad = next((name for name, _ in record.headers if not _is_utf8(name)), None)
            if bad is None:
                yield self._consumer_record(tp, record)
                continue
            yield UnreadableRecord(
                topic=tp.topic,
                partition=tp.partition,
                offset=record.offset,
                cause=UNDECODABLE_HEADERS,
                detail=f"the header name {bad.encode(_UTF8, _ESCAPED)!r} is not UTF-8",
                key=record.key,
                value=record.value,
                headers=tuple(record.headers),
            )
        self.next_fetch_offset = batch.end


def unpack_tolerantly() -> None:
    """Have every aiokafka consumer made from now on unpack with the classes above."""
    fetcher: Any = aiokafka.consumer.fetcher
    fetcher.MemoryRecords, fetcher.PartitionRecords = KeptRecords, TolerantRecords


class Batch(NamedTuple):
    """A record batch (format 2) as fetched.

    Attributes:
        data: Its bytes, header included.
        begin: The offset of the first record to be delivered.
        end: The offset behind its last record, as far as its header can be believed.
        is_dense: Whether each offset up to the end has its record.
        is_sound: Whether its checksum is right.
        is_control: Written by the broker, about transactions.
    """

    data: bytes
    begin: int
    end: int
    is_dense: bool
    is_sound: bool
    is_control: bool


#: BaseOffset, Length, PartitionLeaderEpoch, Magic, CRC, Attributes, LastOffsetDelta.
_HEAD: Final = struct.Struct(">qiibIhi")
_HEAD_BYTES: Final = 61
_LOG_OVERHEAD: Final = 12
_CRC_FROM: Final = 21
_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_COUNT_AT: Final = 57
_MAGIC: Final = 2
_CONTROL: Final = 0x20


def _batch(data: bytes, number: int, offset: int) -> Batch | None:
    """Return the ``number``-th batch (from 1), of which ``offset`` comes next; None where it is none of format 2."""
    at = 0
    for _ in range(number - 1):
        at += _LOG_OVERHEAD + _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
    part = data[at:]
    if len(part) < _HEAD_BYTES:
        return None
    base, length, _, magic, crc, attributes, last = _HEAD.unpack_from(part)
    if magic != _MAGIC:
        return None
    part = part[: _LOG_OVERHEAD + length]
    (count,) = _LENGTH.unpack_from(part, _COUNT_AT)
    is_sound, is_dense = calc_crc32c(part[_CRC_FROM:]) == crc, last == count - 1
    begin = max(base, offset)
    # One record at a time where the header is not to be believed.
    end = max(base + last + 1, begin + 1) if is_sound or is_dense else begin + 1
    return Batch(part, begin, end, is_dense, is_sound, bool(attributes & _CONTROL))


def _records_of(data: bytes) -> list[_DefaultRecordPy]:
    """Return a batch's records; header names that are not UTF-8 hold surrogate escapes.

    Raises:
        CorruptRecordException: Lengths do not add up.
        Exception: Whatever a decompressor raises.
    """
    batch = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()
    buffer, at = bytes(batch._buffer), batch._pos
    records = []
    for _ in range(batch._num_records):
        record, at = _record_at(batch, buffer, at)
        records.append(record)
    return records


def _record_at(batch: _DefaultRecordBatchPy, buffer: bytes, at: int) -> tuple[_DefaultRecordPy, int]:
    length, at = decode_varint(buffer, at)
    end = at + length
    if not at < end <= len(buffer):
        raise CorruptRecordException(f"a record of {length} bytes where {len(buffer) - at} are left")
    timestamp_delta, at = decode_varint(buffer, at + 1)  # behind the record's attributes, one byte
    offset_delta, at = decode_varint(buffer, at)
    key, at = _bytes_at(buffer, at, end)
    value, at = _bytes_at(buffer, at, end)
    count, at = decode_varint(buffer, at)
    headers = []
    for _ in range(count):
        name, at = _bytes_at(buffer, at, end)
        content, at = _bytes_at(buffer, at, end)
        headers.append(((name or b"").decode(_UTF8, _ESCAPED), content))
    if at != end:
        raise CorruptRecordException(f"a record ends {end - at} bytes behind its last header")
    is_append_time = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamp = batch.max_timestamp if is_append_time else batch.first_timestamp + timestamp_delta
    offset = batch.base_offset + offset_delta
    return _DefaultRecordPy(offset, timestamp, batch.timestamp_type, key, value, headers), end


def _bytes_at(buffer: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(buffer, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise CorruptRecordException(f"a field of {length} bytes where {end - at} are left")
    return buffer[at : at + length], at + length


def _is_utf8(name: str) -> bool:
    try:
        name.encode(_UTF8)
    except UnicodeEncodeError:
        return False
    return True
