"""Unpacking fetched batches: what aiokafka reads is the same, what it cannot read stands in its place."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery import CORRUPT_BATCH, UNDECODABLE_HEADERS, UnreadableRecord
from streams.unpacking import KeptRecords, TolerantRecords
from tests.support.raw_batches import RawRecord, build_batch

TP = TopicPartition("t.messages", 3)
_CRC_AT, _CRC_FROM, _ATTRIBUTES_AT = 17, 21, 22
_COMPRESSIONS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    TolerantRecords.damaged.clear()


def unpack(data: bytes, offset: int = 0) -> tuple[list[Any], int]:
    """What a fetch at ``offset`` delivers, and where the next one begins."""
    records = TolerantRecords(TP, KeptRecords(data), [], offset, None, None, True, READ_COMMITTED)  # noqa: FBT003
    return list(records), records.next_fetch_offset


def batch(*records: RawRecord, base: int = 0, compression: int = 0) -> bytes:
    """A batch at ``base``, as the broker gives it out."""
    return struct.pack(">q", base) + build_batch(records, compression=compression)[8:]


def with_crc(data: bytes) -> bytes:
    """The batch with the checksum that its bytes have."""
    return data[:_CRC_AT] + struct.pack(">I", calc_crc32c(data[_CRC_FROM:])) + data[_CRC_FROM:]


def good(number: int) -> RawRecord:
    """A record that any client could write."""
    return b"k%d" % number, b"value " * 20, [(b"name", b"x"), (b"name", None), ("ключ".encode(), b"")]


BAD: RawRecord = (b"bad", b"value", [(b"fine", None), (b"\xff\xfe", b"1")])


@pytest.mark.parametrize("compression", _COMPRESSIONS.values(), ids=list(_COMPRESSIONS))
@pytest.mark.parametrize("at", [0, 2, 4])
def test_unpack_bad_header_name_stands_in_its_place(compression: int, at: int) -> None:
    """First, in the middle, last; with a batch before and behind it, from every offset."""
    records = [good(number) for number in range(4)]
    records.insert(at, BAD)
    before = batch(good(8), good(9), base=10)
    data = batch(*records, base=12, compression=compression) + batch(good(7), base=20)  # behind a hole
    for begin in range(10, 17):
        found, position = unpack(before + data if begin < 12 else data, begin)  # a fetch begins with its offset's batch
        assert [record.offset for record in found] == [*range(begin, 17), 20]
        assert position == 21
        for record in found:
            is_bad = record.offset == 12 + at
            assert isinstance(record, UnreadableRecord) is is_bad
            if is_bad:
                assert (record.cause, record.key, record.value) == (UNDECODABLE_HEADERS, b"bad", b"value")
                assert record.headers == (("fine", None), ("\udcff\udcfe", b"1"))
            elif record.offset not in {10, 11, 20}:
                key, value, headers = records[record.offset - 12]
                assert (record.key, record.value) == (key, value)
                assert [(name.encode(), content) for name, content in record.headers] == list(headers)


def test_unpack_wrong_checksum_is_fetched_again_then_put_aside() -> None:
    """The wire may have done it: nothing is delivered the first time, and nothing behind it in that fetch."""
    damaged = bytearray(batch(good(0), good(1), good(2), base=5))
    damaged[-1] ^= 1
    behind = batch(good(3), base=8)
    data = bytes(damaged) + behind
    found, position = unpack(batch(good(9), base=4) + data, 4)
    assert ([record.offset for record in found], position) == ([4], 5)
    found, position = unpack(data, 5)
    assert [(record.offset, record.cause) for record in found] == [(n, CORRUPT_BATCH) for n in (5, 6, 7)]
    assert [record.value for record in found] == [bytes(damaged), None, None]
    assert position == 8
    found, _ = unpack(behind, 8)
    assert [record.key for record in found] == [b"k3"]


def test_unpack_right_checksum_wrong_lengths_put_aside_and_on() -> None:
    """What a broken producer wrote and the broker let pass."""
    damaged = bytearray(batch(good(0), good(1), base=5))
    damaged[61] ^= 0x10  # the first record's length
    found, position = unpack(with_crc(bytes(damaged)) + batch(good(3), base=7), 5)
    assert [type(record) is UnreadableRecord for record in found] == [True, True, False]
    assert position == 8


def test_unpack_unknown_codec_is_raised() -> None:
    """The records may be sound: another installation can read them."""
    data = bytearray(batch(good(0)))
    data[_ATTRIBUTES_AT] |= 7
    with pytest.raises(UnsupportedCodecError):
        unpack(with_crc(bytes(data)))


def test_unpack_empty_and_control_batches_move_the_position() -> None:
    """What compaction leaves of a batch, and a transaction's marker."""
    empty = bytearray(batch(good(0), good(1), base=3))
    del empty[61:]
    struct.pack_into(">i", empty, 8, len(empty) - 12)
    struct.pack_into(">i", empty, 57, 0)
    assert unpack(with_crc(bytes(empty)), 3) == ([], 5)
    marker = bytearray(batch((b"\x00\x00\x00\x01", b"\x00" * 6, []), base=5))
    marker[_ATTRIBUTES_AT] |= 0x20
    found, position = unpack(with_crc(bytes(marker)) + batch(BAD, base=6), 5)
    assert [record.offset for record in found] == [6]
    assert position == 7


@given(
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.sampled_from(list(_COMPRESSIONS.values())),
    st.sampled_from([with_crc, bytes]),
)
def test_unpack_any_bytes_in_order_and_to_an_end(
    changes: list[tuple[int, bytes]], compression: int, sealed: Callable[[bytes], bytes]
) -> None:
    """Bytes changed anywhere behind the lengths of the batch; with the checksum set right, or not."""
    TolerantRecords.damaged.clear()
    data = bytearray(batch(good(0), BAD, good(2), good(3), base=5, compression=compression))
    for at, part in changes:
        first = 61 if sealed is with_crc else _CRC_FROM  # a broker checks the header of what it takes
        begin = first + at % (len(data) - first)
        data[begin : begin + len(part)] = part[: len(data) - begin]
    whole = sealed(bytes(data))
    found, position = unpack(whole + batch(good(9), base=9), 5)
    if position == 5:  # the checksum is wrong: once more
        found, position = unpack(whole + batch(good(9), base=9), 5)
        assert all(record.cause == CORRUPT_BATCH for record in found)
    assert {record.offset for record in found} >= {5}
    assert len(found) <= 5
    assert position > found[-1].offset
