"""Bad input: a dead letter with cause, bytes and position, a failed token where the session is known, then the next."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from schemas.events import TurnCancelled, TurnCompleted
from schemas.tokens import TokenKind
from streams.partition import Phase
from tests.support.deployment import Deployment, LocalWorker

Local = Callable[..., LocalWorker]

#: name: key, value, cause
POISON: dict[str, tuple[bytes | None, bytes | None, str]] = {
    "garbage": (b"p1", b"\xff\x00garbage", "undecodable"),
    "empty": (b"p2", b"", "undecodable"),
    "null": (b"p3", None, "undecodable"),
    "broken-json": (b"p4", b'{"text": ', "undecodable"),
    "no-text": (b"p5", b'{"metadata": {}}', "undecodable"),
    "wrong-type": (b"p6", b'{"text": 7}', "undecodable"),
    "unknown-type": (b"p7", b'{"type": "dance", "text": "x"}', "undecodable"),
    "unknown-avro": (b"p8", b"\xc3\x01" + b"12345678" + b"rest", "undecodable"),
    "missing-key": (None, b'{"text": "hello"}', "missing_key"),
    "empty-key": (b"", b'{"text": "hello"}', "missing_key"),
    "zero-key": (b"\x00partition", b'{"text": "hello"}', "invalid_key"),
    "binary-key": (b"\xff\xfe", b'{"text": "hello"}', "invalid_key"),
    "long-key": (b"k" * 600, b'{"text": "hello"}', "invalid_key"),
    "empty-text": (b"p9", b'{"text": "  "}', "empty_text"),
    "oversized": (b"p10", b'{"text": "' + b"x" * 600 + b'"}', "oversized_text"),
    "unknown-agent": (b"p11", b'{"text": "hello", "agent": "nobody"}', "unknown_agent"),
    "deadline": (b"p12", b'{"text": "hello", "deadline_ms": 0}', "invalid_deadline"),
    "limit": (b"p14", b'{"text": "hello", "limits": {"max_tokens": 0}}', "invalid_limit"),
    "long-id": (b"p13", b'{"text": "hello", "message_id": "' + b"m" * 257 + b'"}', "invalid_message_id"),
}


async def test_poison_dead_letter_and_failed_token_then_the_next_message(deployment: Deployment, local: Local) -> None:
    """Every kind of bad record on every partition's way, good ones between them; all is acknowledged in the end.

    Fails with ``BARNABAS_TEST_OFF=dead_letters`` (they are dropped).
    """
    places: dict[str, tuple[int, int]] = {}
    async with local(limits={"max_text_chars": 500}) as worker:
        for number, (name, (key, value, _)) in enumerate(POISON.items()):

            def confirmed(error: Any, message: Any, name: str = name) -> None:
                assert error is None
                places[name] = message.partition(), message.offset()

            deployment.produce(
                deployment.names.messages, value, key, partition=0 if key is None else None, on_delivery=confirmed
            )
            deployment.publish(f"s{number}", "fast next")
            if key and not key.startswith((b"\x00", b"\xff", b"k")):
                deployment.publish(key.decode(), "fast same session")
        deployment.flush()
        await worker.until_answered()
        await worker.until(lambda: len(deployment.dead_letters()) == len(POISON), "all dead letters")
        await worker.until_committed()
    letters = {(letter.partition, letter.offset): letter for letter in deployment.dead_letters()}
    failed = {token.session_id: token for token in deployment.tokens() if token.kind is TokenKind.FAILED}
    for name, (key, value, cause) in POISON.items():
        letter = letters[places[name]]
        assert (letter.topic, letter.key, letter.value) == (deployment.names.messages, key, value), name
        assert letter.cause == cause, name
        if key and not key.startswith(b"\x00") and len(key) < 512:
            assert failed[key.decode(errors="replace")].cause == cause, name
    await asyncio.to_thread(deployment.check)


async def test_poison_control_dead_letter_then_the_next(deployment: Deployment, local: Local) -> None:
    """Undecodable, keyless and aimless controls. Fails with ``BARNABAS_TEST_OFF=dead_letters``."""
    async with local() as worker:
        control = deployment.names.control
        deployment.produce(control, b"\xffno", b"c1")
        deployment.produce(control, b'{"type": "cancel", "message_id": "m"}', None, partition=1)
        deployment.produce(control, b'{"type": "cancel"}', b"c2")
        deployment.flush()
        await worker.until(lambda: len(deployment.dead_letters()) == 3, "three dead letters")
        await worker.until_committed()
    assert {letter.cause for letter in deployment.dead_letters()} == {"undecodable", "missing_key", "no_target"}


async def test_poison_agent_of_900_kb_dead_letter_and_short_failed_token_then_the_next(
    deployment: Deployment, local: Local
) -> None:
    """What the record says is kept in the dead letter once, and repeated nowhere.

    Seen to fail with ``detail`` whole in ``DeadLetters.put``.
    """
    session, agent = deployment.session_on(1), b"n" * 900_000
    value = b'{"text": "hello", "agent": "' + agent + b'"}'
    async with local() as worker:
        deployment.produce(deployment.names.messages, value, session.encode())
        deployment.publish(session, "fast next")
        deployment.flush()
        await worker.until_answered()
        await worker.until(deployment.dead_letters, "the dead letter")
        await worker.until_committed()
    (letter,) = deployment.dead_letters()
    assert (letter.cause, letter.value) == ("unknown_agent", value)
    (failed,) = [token for token in deployment.tokens() if token.kind is TokenKind.FAILED]
    assert (failed.session_id, failed.cause) == (session, "unknown_agent")
    assert 0 < len(failed.detail) <= 400
    assert 0 < len(letter.detail) <= 400
    await asyncio.to_thread(deployment.check)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "early"])
async def test_cancel_with_a_reason_of_900_kb_is_cancelled_with_its_beginning(
    deployment: Deployment, local: Local, *, is_running: bool
) -> None:
    """A reason goes into an event and a token, and both into the table's value: its first 300 characters do.

    Seen to fail with the reason whole in ``Partition.control``.
    """
    session, reason = deployment.session_on(1), "r" * 900_000
    async with local() as worker:
        if is_running:
            deployment.publish(session, "hang on", message_id="m1")
            deployment.flush()
            await worker.until(lambda: deployment.log().starts, "the turn runs")
            deployment.control(session, type="cancel", message_id="m1", reason=reason)
        else:
            deployment.control(session, type="cancel", message_id="m1", reason=reason)
            partition = worker.worker.ownership.partitions[1]
            await worker.until(lambda: partition._early_cancels, "the cancel is remembered")
            deployment.publish(session, "hang on", message_id="m1")
        deployment.publish(session, "fast next")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    first, second = [accepted.event for accepted in deployment.log().outcomes.values()]
    assert isinstance(first, TurnCancelled)
    assert first.reason == reason[:300]
    assert isinstance(second, TurnCompleted)
    (cancelled,) = [token for token in deployment.tokens() if token.kind is TokenKind.CANCELLED]
    assert cancelled.detail == reason[:300]
    assert not deployment.dead_letters()
    await asyncio.to_thread(deployment.check)


async def test_poison_in_the_log_before_the_barrier_dead_letter_and_acknowledged(
    deployment: Deployment, local: Local
) -> None:
    """Garbage in ``events`` that is met before our own opening still gets its dead letter, and holds nothing back.

    Fails with ``BARNABAS_TEST_OFF=dead_letter_barrier``.
    """
    deployment.produce(deployment.names.events, b"\xff\x00garbage", b"x", partition=1)
    deployment.flush()
    async with local() as worker:
        deployment.publish(deployment.session_on(1), "fast one")
        deployment.flush()
        await worker.until_committed(topics=(deployment.names.events, deployment.names.messages))
        await worker.until(deployment.dead_letters, "the dead letter")
    (letter,) = deployment.dead_letters()
    assert (letter.topic, letter.value) == (deployment.names.events, b"\xff\x00garbage")


async def test_unknown_event_type_stops_its_partition_with_a_clear_error(
    deployment: Deployment, local: Local, caplog: pytest.LogCaptureFixture
) -> None:
    """A newer version's event stops one partition (rule 6): nothing of it is committed, the others go on.

    Seen to fail with ``UnknownEventError`` put aside as ``DecodeError`` is, in ``Projector._fold``.
    """
    with caplog.at_level(logging.ERROR, logger="streams"):
        async with local() as worker:
            deployment.produce(deployment.names.events, b"\xc3\x01" + b"12345678" + b"rest", b"x", partition=1)
            deployment.flush()
            partition = worker.worker.ownership.partitions[1]
            await worker.until(lambda: partition.phase is Phase.STOPPED, "the partition stops")
            deployment.produce(deployment.names.messages, b'{"text": "x"}', deployment.session_on(1).encode())
            deployment.publish(deployment.session_on(2), "fast one")
            deployment.flush()
            await worker.until_answered()
            await worker.worker.ownership.consumer.commit_done()
            assert await asyncio.to_thread(deployment.committed, deployment.names.messages, 1) <= 0
            assert await asyncio.to_thread(deployment.committed, deployment.names.events, 1) <= 1
    assert any("partition 1 stopped" in r.message and "newer version" in r.message for r in caplog.records)
