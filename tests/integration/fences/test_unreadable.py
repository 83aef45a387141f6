"""Records that Kafka's client cannot unpack: a dead letter in their place, their neighbours as usual."""

import asyncio
import json
from collections.abc import Callable

import pytest

from schemas.dead_letters import RecordHeader
from schemas.ids import message_id_at
from schemas.tokens import TokenKind
from tests.support.checker import Published
from tests.support.deployment import Deployment, LocalWorker
from tests.support.raw_batches import RawRecord, produce_batch

Local = Callable[..., LocalWorker]

BAD_NAME = b"\xff\xfe-not-utf-8"
HEADERS = [(b"good", b"1"), (BAD_NAME, b"2"), (b"good", None), (b"good", b"")]


@pytest.mark.parametrize("compression", [None, "lz4"])
async def test_header_name_not_utf8_dead_letter_and_its_neighbours_answered(
    deployment: Deployment, local: Local, compression: str | None
) -> None:
    """In the middle and at the end of a batch, before a worker starts and while it runs, and another worker after it.

    Fails with ``BARNABAS_TEST_OFF=tolerant_unpacking``: the worker dies, and so does the next one.
    """
    names, session = deployment.names, deployment.session_on(1)
    places: list[int] = []

    async def produce(tag: str) -> None:
        records: list[RawRecord] = [
            (session.encode(), json.dumps({"text": f"fast {tag} {number}"}).encode(), HEADERS if number % 2 else [])
            for number in range(4)
        ]
        offsets = await produce_batch(deployment.bootstrap_servers, names.messages, 1, records, compression=compression)
        for number in (0, 2):
            known = message_id_at(names.messages, 1, offsets[number])
            deployment.published.append(Published(session, known, f"fast {tag} {number}", 1, offsets[number]))
        places.extend((offsets[1], offsets[3]))

    await produce("before")
    async with local("w1") as worker:
        await worker.until_answered()
        await produce("during")
        await worker.until_answered()
        await worker.until_committed()
    async with local("w2") as worker:
        deployment.publish(session, "fast after")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    letters = {letter.offset: letter for letter in deployment.dead_letters()}
    assert sorted(letters) == sorted(places)
    failed = {token.message_id: token for token in deployment.tokens() if token.kind is TokenKind.FAILED}
    for offset, letter in letters.items():
        assert (letter.topic, letter.partition, letter.cause) == (names.messages, 1, "undecodable_headers")
        assert letter.key == session.encode()
        assert letter.value is not None
        assert b"fast" in letter.value
        assert letter.headers == [
            RecordHeader(name="good", value=b"1"),
            RecordHeader(name="\ufffd\ufffd-not-utf-8", value=b"2", raw_name=BAD_NAME),
            RecordHeader(name="good", value=None),
            RecordHeader(name="good", value=b""),
        ]
        assert failed[message_id_at(names.messages, 1, offset)].cause == "undecodable_headers"
    await asyncio.to_thread(deployment.check)


async def test_header_name_not_utf8_on_control_and_events_holds_nothing_back(
    deployment: Deployment, local: Local
) -> None:
    """A control becomes a dead letter; an event is judged by its value, as every other reader of the log does.

    Fails with ``BARNABAS_TEST_OFF=tolerant_unpacking``.
    """
    names, session = deployment.names, deployment.session_on(2)
    cancel = json.dumps({"type": "cancel", "message_id": "m"}).encode()
    async with local() as worker:
        servers = deployment.bootstrap_servers
        await produce_batch(servers, names.control, 2, [(session.encode(), cancel, HEADERS)])
        await produce_batch(servers, names.events, 2, [(session.encode(), b"\xffgarbage", HEADERS)])
        deployment.publish(session, "fast next")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    causes = {letter.topic: letter.cause for letter in deployment.dead_letters()}
    assert causes == {names.control: "undecodable_headers", names.events: "undecodable"}
    await asyncio.to_thread(deployment.check)
