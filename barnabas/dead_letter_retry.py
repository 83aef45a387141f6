"""What is published when a dead letter is retried. Pure.

A retried message goes to its session's end, under its key, with its ``message_id`` pinned: whether it was answered
meanwhile, or is retried twice, it has one outcome. Its tokens are a real attempt, above that of its dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from barnabas.publishing import Outgoing
from schemas.commands import UserMessage
from schemas.dead_letters import DeadLetter
from schemas.errors import DecodeError, InvalidMessageError
from schemas.headers import FIRST_SEEN, RETRY_OF
from schemas.ids import message_id_at
from schemas.serdes import Codec
from topics.names import TopicNames
from topics.partitioner import partition_for

_REASON: Final = "not_retryable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is changed before a record is published again.

    Attributes:
        agent: Which agent answers.
        value: The whole value anew, as JSON or Avro.
        key: The Kafka key, for a record that had none, or an impossible one.
    """

    agent: str | None = None
    value: bytes | None = None
    key: bytes | None = None


def outgoing(
    letter: DeadLetter, reference: str, *, names: TopicNames, partitions: int, codec: Codec, amendment: Amendment
) -> Outgoing:
    """Return the record that retries a dead letter.

    Args:
        letter: The dead letter.
        reference: Its place, ``partition:offset``; a letter that fails again refers to it.
        names: The deployment's topics.
        partitions: N.
        codec: Reads a value that is amended.
        amendment: What is changed.

    Raises:
        InvalidMessageError: It cannot be published again; the text says why and what to do.
    """
    if letter.topic not in {names.messages, names.control}:
        raise InvalidMessageError(_REASON, f"it lay on {letter.topic}, which only workers write; drop it")
    key = amendment.key or letter.key
    if not key:
        raise InvalidMessageError(_REASON, "its record has no key, which is the session id; give one with --key")
    if letter.bytes_left_out and amendment.value is None:
        raise InvalidMessageError(_REASON, f"{letter.bytes_left_out} bytes of it are not here; drop it, or --edit")
    if letter.cause == "corrupt_batch" and amendment.value is None:
        raise InvalidMessageError(_REASON, "its bytes are those of a whole damaged batch; drop it, or --edit")
    is_message = letter.topic == names.messages
    headers = [
        (header.name, header.value)
        for header in letter.headers
        if header.raw_name is None and header.name not in {FIRST_SEEN, RETRY_OF}
    ]
    message_id = letter.message_id or message_id_at(letter.topic, letter.partition, letter.offset)
    if is_message:
        headers.append((FIRST_SEEN, message_id.encode()))
    headers.append((RETRY_OF, reference.encode()))
    value = letter.value if amendment.value is None else amendment.value
    if is_message and (amendment.value is not None or amendment.agent is not None):
        value = _amended(letter, value, message_id, amendment.agent, codec)
    return Outgoing(letter.topic, partition_for(key, partitions), key, value, headers)


def _amended(letter: DeadLetter, value: bytes | None, message_id: str, agent: str | None, codec: Codec) -> bytes:
    try:
        command = codec.decode_command(value, topic=letter.topic, partition=letter.partition, offset=letter.offset)
    except DecodeError as error:
        raise InvalidMessageError(_REASON, f"it is no message: {error.cause}; correct it with --edit") from error
    changed = replace(command, message_id=message_id)
    if agent is not None:
        if not isinstance(changed, UserMessage):
            raise InvalidMessageError(_REASON, "an order to erase has no agent")
        changed = replace(changed, agent=agent)
    return codec.to_json(changed)
