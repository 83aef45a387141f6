"""Anything at all poured into ``messages`` and ``control`` among good messages; nothing is lost, nothing stalls."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import psutil
from confluent_kafka import Producer

from schemas.commands import EraseSession, UserMessage
from schemas.controls import CancelTurn
from schemas.serdes import Codec
from tests.support.deployment import PARTITIONS, Deployment, LocalWorker
from tests.support.raw_batches import RawRecord, produce_batch
from tests.support.waiting import DEADLINE_S
from topics.partitioner import partition_for

Local = Callable[..., LocalWorker]

SEED = 20
BAD_RECORDS = 2000
GOOD_MESSAGES = 200
MAX_GROWTH_BYTES = 200_000_000

_SEEDS = [
    b'{"text": "fast fuzz", "metadata": {"a": "b"}, "deadline_ms": 60000, "priority": 1}',
    b'{"type": "erase", "reason": "asked for"}',
    b'{"type": "cancel", "message_id": "nobody", "reason": "r"}',
    Codec().encode(UserMessage(text="fast fuzz", metadata={"a": "b"}, limits={"x": 1}, attachments=["y"])),
    Codec().encode(EraseSession(reason="asked for")),
    Codec().encode(CancelTurn(message_id="nobody")),
    b"\x00\x00\x00\x00\x07confluent",
]


def any_value(draw: random.Random) -> bytes | None:
    """Nothing, noise, or a sound record with some bytes changed, cut off or added."""
    if draw.random() < 0.05:
        return None
    if draw.random() < 0.2:
        return draw.randbytes(draw.choice([0, 1, 5, 60, 5000]))
    value = bytearray(draw.choice(_SEEDS))
    for _ in range(draw.randint(0, 3)):
        at = draw.randrange(len(value) + 1)
        value[at : at + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 3))
    return bytes(value)


def any_key(draw: random.Random) -> bytes | None:
    """Often a sound one; else none, empty, long, binary, or one that begins with a zero byte."""
    if draw.random() < 0.7:
        return f"fuzz-{draw.randrange(50)}".encode()
    return draw.choice([None, b"", b"k" * 3000, draw.randbytes(8), b"\x00zero", "ключ/ключ".encode(), b"\xff\xfe"])


def any_headers(draw: random.Random, *, is_misplaced: bool) -> list[tuple[str, bytes | None]]:
    """None, some, repeated, empty and large ones, and our own with anything in them."""
    names = ["traceparent", "barnabas-retry-of", "ce_id", "x", "x", "ключ"]
    if not is_misplaced:  # the doctor cannot follow a message that is sent on under a stranger's id, and says so
        names.append("barnabas-first-seen")
    return [
        (draw.choice(names), draw.choice([None, b"", draw.randbytes(6), b"v" * 20_000]))
        for _ in range(draw.choice([0, 0, 0, 1, 3]))
    ]


async def test_fuzz_good_messages_are_answered_bad_ones_put_aside_and_all_is_committed(
    deployment: Deployment, local: Local
) -> None:
    """The doctor finds an outcome, a dead letter or a better place for each record of ``messages``.

    Two thousand bad records of a fixed seed, every compression, tombstones, wrong partitions, header names that are
    not UTF-8. Fails with ``BARNABAS_TEST_OFF=tolerant_unpacking`` (the worker dies) and with ``forward``.
    """
    draw, names = random.Random(SEED), deployment.names
    confirmed: dict[str, int] = {names.messages: 0, names.control: 0}
    must_be_dead: set[tuple[str, int, int]] = set()

    def pour() -> None:
        producers = [
            Producer({"bootstrap.servers": deployment.bootstrap_servers, "compression.type": kind, "linger.ms": 20})
            for kind in ("none", "gzip", "snappy", "lz4", "zstd")
        ]
        for number in range(BAD_RECORDS):
            topic = names.control if draw.random() < 0.25 else names.messages
            key, value = any_key(draw), any_value(draw)
            partition = draw.randrange(PARTITIONS)
            if key and draw.random() < 0.8:
                partition = partition_for(key, PARTITIONS)
            headers = any_headers(draw, is_misplaced=partition != partition_for(key or b"", PARTITIONS))
            is_dead = not value or not key

            def report(error: Any, message: Any, topic: str = topic, is_dead: bool = is_dead) -> None:  # noqa: FBT001
                assert error is None
                confirmed[topic] += 1
                if is_dead:
                    must_be_dead.add((topic, message.partition(), message.offset()))

            producer = draw.choice(producers)
            producer.produce(topic, value, key, partition, headers=headers, on_delivery=report)
            producer.poll(0)
            if number % (BAD_RECORDS // GOOD_MESSAGES) == 0:
                deployment.publish(f"good-{number % 40}", f"fast good {number}")
        for producer in producers:
            assert producer.flush(DEADLINE_S) == 0
        deployment.flush()

    async with local(limits={"turn_timeout_s": 3.0}) as worker:  # so long a cancel waits for its message
        before = psutil.Process().memory_info().rss
        await asyncio.to_thread(pour)
        for partition in range(PARTITIONS):
            session = deployment.session_on(partition).encode()
            raw: list[RawRecord] = [
                (session, any_value(draw), [(draw.randbytes(5), None)] if n % 2 else []) for n in range(40)
            ]
            await produce_batch(deployment.bootstrap_servers, names.messages, partition, raw, compression="gzip")
        await worker.until_answered()
        await worker.until_committed()
        growth = psutil.Process().memory_info().rss - before
    assert sum(confirmed.values()) == BAD_RECORDS
    assert len(deployment.published) == GOOD_MESSAGES
    letters = deployment.dead_letters()
    places = {(letter.topic, letter.partition, letter.offset) for letter in letters}
    assert len(places) == len(letters)
    misplaced_tombstones = must_be_dead - places
    read = {(r.partition, r.offset): r for r in deployment.reader(names.messages).read_to_end()}
    for topic, partition, offset in misplaced_tombstones:  # sent on, and put aside where their keys belong
        record = read.get((partition, offset)) if topic == names.messages else None
        assert record is None or partition_for(record.key or b"", PARTITIONS) != partition
    causes = {letter.cause for letter in letters}
    assert causes >= {"undecodable", "undecodable_headers", "missing_key", "invalid_key", "no_target"}, causes
    assert all(letter.cause and letter.detail for letter in letters)
    assert growth < MAX_GROWTH_BYTES
    await asyncio.to_thread(deployment.check, with_calls=False)
