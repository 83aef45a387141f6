"""The way in: a record of ``messages`` or ``control`` becomes something a lane can decide, or a dead letter."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from schemas.commands import MAX_TOKENS, Command, EraseSession, UserMessage
from schemas.errors import (
    BarnabasError,
    DecodeError,
    DeliveryUnknownError,
    InvalidMessageError,
    RecordTooLargeError,
    RetryableError,
    StoreError,
)
from schemas.headers import FIRST_SEEN, pinned_id, traceparent_of, valid_traceparent
from schemas.ids import message_id_at, turn_id_for
from streams.dead_letters import DeadLetters
from streams.delivery import Delivery, KafkaRecord, UnreadableRecord
from streams.environment import Environment
from streams.incoming import Incoming
from streams.ownership import Ownership
from streams.partition import Partition
from streams.producer import Record
from topics.partitioner import partition_for

logger = logging.getLogger(__name__)

_MAX_KEY_BYTES: Final = 512

#: Longest message id: sessions keep the latest ones.
MAX_ID_CHARS: Final = 256


class Intake:
    """Takes deliveries from the agents; never blocks, never raises (P1, F2)."""

    def __init__(self, env: Environment, ownership: Ownership, dead_letters: DeadLetters) -> None:
        self._env = env
        self._ownership = ownership
        self._dead_letters = dead_letters

    def messages(self, delivery: Delivery) -> None:
        """Take a run of one partition's messages."""
        if not self._ownership.draining:
            self._take(delivery, self._message)

    def control(self, delivery: Delivery) -> None:
        """Take a run of one partition's controls."""
        self._take(delivery, self._control)

    def _take(self, delivery: Delivery, handle: Callable[[Partition, KafkaRecord, Callable[[], None]], None]) -> None:
        owner = self._ownership.partitions.get(delivery.tp.partition)
        consumer = self._ownership.consumer
        if owner is None:
            return
        for record in consumer.admit(delivery):
            acknowledge = partial(consumer.cursors[delivery.tp].acks.ack, record.offset)
            owner.when_open(partial(self._guarded, handle, owner, record, acknowledge))

    def _guarded(
        self,
        handle: Callable[[Partition, KafkaRecord, Callable[[], None]], None],
        owner: Partition,
        record: KafkaRecord,
        acknowledge: Callable[[], None],
    ) -> None:
        try:
            if isinstance(record, UnreadableRecord):
                self._reject(owner, record, InvalidMessageError(record.cause, record.detail), acknowledge)
            elif record.key and self._is_misplaced(record):
                self._forward(owner, record, acknowledge)
            else:
                handle(owner, record, acknowledge)
        except RetryableError as exc:
            self._ownership.lost(owner.number, str(exc))  # delivered again; never a dead letter
        except StoreError as exc:
            owner.store_failed(exc)
        except Exception as exc:  # noqa: BLE001 -- the dead letter says it
            self._reject(owner, record, exc, acknowledge)

    # -- A message

    def _message(self, owner: Partition, record: KafkaRecord, acknowledge: Callable[[], None]) -> None:
        key = _key_of(record)
        command = self._env.codec.decode_command(
            record.value, topic=record.topic, partition=record.partition, offset=record.offset
        )
        message_id = command.message_id or _first_seen(record)
        session_id = key.decode()
        if len(message_id) > MAX_ID_CHARS:
            raise InvalidMessageError("invalid_message_id", f"a message_id has at most {MAX_ID_CHARS} characters")
        try:
            agent = self._checked(command)
        except InvalidMessageError as exc:
            self._dead_letters.put(
                owner, record, exc.reason, str(exc), acknowledge, session_id=session_id, message_id=message_id
            )
            return
        traceparent = traceparent_of(record.headers)
        if traceparent is None and isinstance(command, UserMessage):
            traceparent = valid_traceparent(command.traceparent)
        owner.offer(
            Incoming(
                key=key,
                session_id=session_id,
                message_id=message_id,
                turn_id=turn_id_for(session_id, message_id),
                offset=record.offset,
                command=command,
                agent=agent,
                traceparent=traceparent,
                acknowledge=acknowledge,
                published_at_ms=record.timestamp,
            )
        )

    def _checked(self, command: Command) -> str:
        if isinstance(command, EraseSession):
            return self._env.agents.default
        if not command.text.strip():
            raise InvalidMessageError("empty_text", "the message has no text")
        limit = self._env.limits.max_text_chars
        if len(command.text) > limit:
            raise InvalidMessageError("oversized_text", f"{len(command.text)} characters, at most {limit} are taken")
        if command.deadline_ms is not None and command.deadline_ms <= 0:
            raise InvalidMessageError("invalid_deadline", f"deadline_ms is {command.deadline_ms}, not above 0")
        if (most := command.limits.get(MAX_TOKENS)) is not None and most <= 0:
            raise InvalidMessageError("invalid_limit", f"limits.{MAX_TOKENS} is {most}, not above 0")
        return self._env.agents.resolve(command.agent)

    # -- A control

    def _control(self, owner: Partition, record: KafkaRecord, acknowledge: Callable[[], None]) -> None:
        key = _key_of(record)
        control = self._env.codec.decode_control(
            record.value, topic=record.topic, partition=record.partition, offset=record.offset
        )
        if not control.message_id and not control.turn_id:
            raise InvalidMessageError("no_target", "a control names a turn_id or a message_id")
        if max(len(control.message_id or ""), len(control.turn_id or "")) > MAX_ID_CHARS:
            raise InvalidMessageError("invalid_target", f"an id has at most {MAX_ID_CHARS} characters")
        owner.control(key, control, acknowledge)

    # -- Elsewhere

    def _is_misplaced(self, record: KafkaRecord) -> bool:
        return partition_for(record.key or b"", self._env.partitions) != record.partition

    def _forward(self, owner: Partition, record: KafkaRecord, acknowledge: Callable[[], None]) -> None:
        """Publish the record again where its key belongs, its id pinned; it is never handled here."""
        key = record.key or b""

        def delivered(error: DeliveryUnknownError | None, _offset: int) -> None:
            if error is None:
                acknowledge()
            elif isinstance(error, RecordTooLargeError):
                self._reject(owner, record, error, acknowledge)
            else:  # sent again from the commit, in order
                self._ownership.lost(owner.number, f"a re-routed message's delivery is unknown: {error}")

        headers = [(name, value or b"") for name, value in record.headers if name != FIRST_SEEN]
        headers.append((FIRST_SEEN, _first_seen(record).encode()))
        target = partition_for(key, self._env.partitions)
        self._env.publisher.forward(Record(record.topic, target, key, record.value, headers, delivered))

    def _reject(self, owner: Partition, record: KafkaRecord, error: Exception, acknowledge: Callable[[], None]) -> None:
        cause, detail = "internal", repr(error)
        if isinstance(error, InvalidMessageError):
            cause, detail = error.reason, str(error)
        elif isinstance(error, BarnabasError):
            cause, detail = error.code, error.cause if isinstance(error, DecodeError) else str(error)
        else:
            logger.error("%s-%d@%d: not understood", record.topic, record.partition, record.offset, exc_info=error)
        session_id = None
        if record.topic == self._env.names.messages and record.key and len(record.key) <= _MAX_KEY_BYTES:
            is_ours = not record.key.startswith(b"\x00") and not self._is_misplaced(record)  # its readers are elsewhere
            session_id = record.key.decode(errors="replace") if is_ours else None
        self._dead_letters.put(
            owner, record, cause, detail, acknowledge, session_id=session_id, message_id=_first_seen(record)
        )


def _key_of(record: KafkaRecord) -> bytes:
    key = record.key
    if not key:
        raise InvalidMessageError("missing_key", "the record has no key; the key is the session id")
    if len(key) > _MAX_KEY_BYTES or key.startswith(b"\x00"):
        raise InvalidMessageError(
            "invalid_key", f"a key has at most {_MAX_KEY_BYTES} bytes and begins with no zero byte"
        )
    try:
        key.decode()
    except UnicodeDecodeError:
        raise InvalidMessageError("invalid_key", "the key is not UTF-8") from None
    return key


def _first_seen(record: KafkaRecord) -> str:
    return pinned_id(record.headers) or message_id_at(record.topic, record.partition, record.offset)
