"""Dead letters: what cannot be handled is put aside, whole, with its cause; then the next record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from schemas.attempt import Attempt
from schemas.dead_letters import DeadLetter
from schemas.errors import DeliveryUnknownError, RecordTooLargeError
from schemas.ids import message_id_at, turn_id_for
from schemas.tokens import Token, TokenKind
from streams.delivery import KafkaRecord
from streams.environment import Environment
from streams.partition import Partition
from streams.token_stream import now_ms
from streams.turn import MAX_REASON_CHARS

logger = logging.getLogger(__name__)

_RETRY_S: Final = 1.0

#: What is kept of a value that does not fit into a dead letter (compressed, it fitted into a message).
_CUT_BYTES: Final = 100_000

#: Below every attempt of a turn, and the same when a crash has the letter written again.
_NO_ATTEMPT: Final = Attempt(-1, 0)


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
        letter = DeadLetter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers={name: value or b"" for name, value in record.headers},
            cause=cause,
            detail=detail,
            session_id=session_id,
            message_id=message_id,
            occurred_at=now_ms(),
        )

        def delivered(error: DeliveryUnknownError | None, _offset: int) -> None:
            nonlocal letter
            if isinstance(error, RecordTooLargeError) and letter.value is not None:
                cut = f"{letter.detail}; cut from {len(letter.value)} bytes"
                letter = replace(letter, value=letter.value[:_CUT_BYTES], headers={}, detail=cut)
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
            attempt=_NO_ATTEMPT,
            epoch=owner.epoch,
            index=0,
            kind=TokenKind.FAILED,
            deltas=0,
            cause=cause,
            detail=detail,
            occurred_at=now_ms(),
        )

        owner.send_terminal(record.key or b"", token, acknowledge)
