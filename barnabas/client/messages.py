"""What goes into a client and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from barnabas.cursor import Cursor
from barnabas.stream_fold import ChangeKind
from schemas.events import Usage
from schemas.tokens import Token, TokenKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to send; :meth:`Client.send` takes the same fields as arguments.

    Attributes:
        session_id: Whose memory it belongs to.
        text: What to say.
        message_id: Idempotency key: a message sent twice is answered once; a new one where absent.
        agent: Which agent answers; the deployment's default where absent.
        tenant: Owner of the session.
        policy: What happens when a turn of the session is running.
        metadata: Labels, carried into the log.
        deadline_ms: Longest time the turn may take, in milliseconds from its start.
        max_tokens: Longest output of a model call, in tokens; the agent's own limit counts where it is lower.
    """

    session_id: str
    text: str
    message_id: str | None = None
    agent: str | None = None
    tenant: str | None = None
    policy: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    deadline_ms: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that the broker has confirmed: it will be answered, whatever happens to this process.

    Attributes:
        session_id: The Kafka key as text (``tenant/session_id`` where tenants are used).
        message_id: Of the message.
        turn_id: Of the turn that answers it.
        topic: Where it lies.
        partition: The session's.
        offset: In that topic.
        cursor: Before the answer's first token: ``client.stream(sent)`` begins there, now or in another process.
    """

    session_id: str
    message_id: str
    turn_id: str
    topic: str
    partition: int
    offset: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Answer:
    """A completed turn.

    Attributes:
        text: The whole answer.
        usage: The model's tokens, as its provider counted them.
        session_id: As in :class:`Sent`; so are ``message_id`` and ``turn_id``.
        message_id: Of the message.
        turn_id: Of the turn.
        cursor: Behind its last token.
        finish_reason: Why the model stopped: ``stop``, ``length``, ...; None for a message that was sent again.
    """

    text: str
    usage: Usage
    session_id: str
    message_id: str
    turn_id: str
    cursor: Cursor
    finish_reason: str | None = None

    def __str__(self) -> str:
        return self.text


class Part(NamedTuple):
    """One step of a streamed answer: append ``text``, forget all of the turn on a ``reset``, and it is always right.

    Attributes:
        kind: ``started``, ``text``, ``reset``, ``tool``, ``ended``; ``superseded`` on request only.
        text: The piece to append; empty in all kinds but ``text`` and ``superseded``.
        token: The record behind it, with session, turn, attempt, and at the end outcome, cause and usage.
        cursor: Save it when the part is dealt with: what follows it comes next, in any process.
        is_repaired: At the end: pieces had been missed, and the parts before put them right.
    """

    kind: ChangeKind
    text: str
    token: Token
    cursor: Cursor
    is_repaired: bool = False

    @property
    def outcome(self) -> TokenKind | None:
        """At the end ``completed``, ``failed`` or ``cancelled``."""
        return self.token.kind if self.kind is ChangeKind.ENDED else None
