"""Dead letters: what cannot be handled is put aside, whole, with its cause; then the next record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from schemas.attempt import PUT_ASIDE
from schemas.dead_letters import DeadLetter, RecordHeader
from schemas.errors import DeliveryUnknownError, RecordTooLargeError
from schemas.headers import RETRY_OF
from schemas.ids import message_id_at, turn_id_for
from schemas.tokens import Token, TokenKind
from streams.delivery import KafkaRecord
from streams.environment import Environment
from streams.partition import Partition
from streams.token_stream import now_ms
from streams.turn import MAX_REASON_CHARS

logger = logging.getLogger(__name__)

_RETRY_S: Final = 1.0

#: What is kept of a value, and of a key, that do not fit into a dead letter (compressed, they fitted into a message).
_CUT_BYTES: Final = 100_000
_CUT_KEY_BYTES: Final = 512

#: Longest reference to an earlier dead letter that is taken from a header.
_MAX_REFERENCE_BYTES: Final = 40


class DeadLetters:
    """Writes dead letters, and a ``failed`` token where the session is known."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def put(
        self,
        owner: Partition,
        record: KafkaRecord,
        cause: str,
        detail: str,
        acknowledge: Callable[[], None],
        *,
        session_id: str | None = None,
        message_id: str | None = None,
    ) -> None:
        """Put a record aside; acknowledged when the broker has the dead letter and the token."""
        detail = detail[:MAX_REASON_CHARS]
        logger.warning("%s-%d@%d: dead letter: %s: %s", record.topic, record.partition, record.offset, cause, detail)
        self._env.figures.dead_letters[self._env.names.role(record.topic), cause] += 1
        letter = DeadLetter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=[_header(name, value) for name, value in record.headers],
            cause=cause,
            detail=detail,
            session_id=session_id,
            message_id=message_id,
            occurred_at=now_ms(),
            retry_of=_retry_of(record),
        )

        def delivered(error: DeliveryUnknownError | None, _offset: int) -> None:
            nonlocal letter
            if isinstance(error, RecordTooLargeError) and not letter.bytes_left_out:
                letter = _cut(letter)
                send()
            elif error is not None:
                asyncio.get_running_loop().call_later(_RETRY_S, send)
            elif session_id is None or record.key is None:
                acknowledge()
            else:
                self._fail(owner, record, cause, detail, acknowledge, session_id, message_id)

        def send() -> None:
            if owner.is_owned:  # one in the log may be met before the barrier: it needs no epoch
                self._env.publisher.dead_letter(owner.number, letter, delivered)

        send()

    def _fail(  # noqa: PLR0917
        self,
        owner: Partition,
        record: KafkaRecord,
        cause: str,
        detail: str,
        acknowledge: Callable[[], None],
        session_id: str,
        message_id: str | None,
    ) -> None:
        known = message_id or message_id_at(record.topic, record.partition, record.offset)
        token = Token(
            session_id=session_id,
            turn_id=turn_id_for(session_id, known),
            message_id=known,
            attempt=PUT_ASIDE,
            epoch=owner.epoch,
            index=0,
            kind=TokenKind.FAILED,
            deltas=0,
            cause=cause,
            detail=detail,
            occurred_at=now_ms(),
        )

        owner.send_terminal(record.key or b"", token, acknowledge)


def _header(name: str, value: bytes | None) -> RecordHeader:
    """Keep a header; one whose name is not UTF-8 comes with surrogate escapes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        return RecordHeader(name=raw.decode(errors="replace"), value=value, raw_name=raw)
    return RecordHeader(name=name, value=value)


def _retry_of(record: KafkaRecord) -> str | None:
    for name, value in record.headers:
        if name == RETRY_OF and value and len(value) <= _MAX_REFERENCE_BYTES:
            return value.decode(errors="replace")
    return None


def _cut(letter: DeadLetter) -> DeadLetter:
    """Return the letter with the beginning of its key and value alone, which always fits."""
    key, value = letter.key, letter.value
    cut = replace(
        letter,
        key=key and key[:_CUT_KEY_BYTES],
        value=value and value[:_CUT_BYTES],
        headers=[],
    )
    left_out = max(1, _size(letter) - _size(cut))
    return replace(cut, bytes_left_out=left_out, detail=f"{letter.detail}; {left_out} bytes did not fit here")


def _size(letter: DeadLetter) -> int:
    headers = sum(len(header.name.encode()) + len(header.value or b"") for header in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers
