"""What users publish to ``messages``: a user's message, or an order to erase the session."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

#: An integer that Avro's long can hold: JSON could carry a longer one in, and nothing could write it again.
Long = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


#: Of a message's ``limits``.
MAX_TOKENS = "max_tokens"


class UserMessage(Struct, frozen=True, kw_only=True, tag="message"):
    """One message to answer; the Kafka key is the session id, ``{"text": "hello"}`` is enough.

    Attributes:
        text: What the user says; 1 to ``max_text_chars`` characters.
        message_id: The user's idempotency key; ``topic-partition-offset`` of first sight where absent.
        agent: Which agent answers; the deployment's default where absent.
        tenant: Owner of the session; the Kafka key is then ``tenant/session_id``.
        policy: What happens when a turn of the session is running; ``queue`` where absent.
        metadata: The user's own labels, carried into ``TurnStarted``.
        deadline_ms: Longest time the turn may take, in milliseconds from its start.
        traceparent: W3C trace context, where the record has no header of that name.
        limits: ``max_tokens``: longest output of a model call, in tokens; the agent's own limit counts where it is
            lower. Others are reserved.
        use_cache, priority, sender, room, attachments, response_format: Reserved: accepted and carried, without effect
            yet.
    """

    text: str
    message_id: str | None = None
    agent: str | None = None
    tenant: str | None = None
    policy: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    deadline_ms: Long | None = None
    traceparent: str | None = None
    use_cache: bool | None = None
    priority: Long | None = None
    sender: str | None = None
    room: str | None = None
    attachments: list[str] = field(default_factory=list)
    limits: dict[str, Long] = field(default_factory=dict)
    response_format: str | None = None


class EraseSession(Struct, frozen=True, kw_only=True, tag="erase"):
    """Forget the session's memory, in order with its messages.

    Attributes:
        message_id: Idempotency key, as a message's.
        tenant: Owner of the session.
        reason: Kept in the log.
    """

    message_id: str | None = None
    tenant: str | None = None
    reason: str | None = None


Command = UserMessage | EraseSession

#: JSON a person writes by hand has no ``type``; it is a message then.
DEFAULT_COMMAND_TYPE = "message"

JsonObject = dict[str, Any]
