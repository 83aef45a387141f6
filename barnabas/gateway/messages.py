"""Writing to a session: a message, a cancellation, its erasure. All of it goes to Kafka, and is there at the answer."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, ClassVar, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from barnabas.client import Sent
from barnabas.gateway.bodies import read_body, read_query, reply
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.naming import (
    IDEMPOTENCY_HEADER,
    MAX_ID_CHARS,
    checked_session,
    idempotency_key,
    principal_of,
    session_of,
    stream_path,
)
from barnabas.gateway.operation import Header, Reply, operation
from barnabas.gateway.problems import Refusal
from barnabas.gateway.security.principal import Principal
from barnabas.gateway.session_route import SessionRoute

#: As long as the log keeps one.
_Reason = Annotated[str, Meta(max_length=300)]
_Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]

IDEMPOTENCY: Final = Header(
    name=IDEMPOTENCY_HEADER,
    text="The message's id: sent again with it, the message is answered once (among the latest 32 decisions).",
    schema={"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": "^[ -~]*[!-~][ -~]*$"},
)


class NewMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to a session.

    Attributes:
        text: What to say; more than white space, at most ``limits.max_text_chars``.
        agent: Which agent answers; the deployment's default where absent.
        message_id: Its id, where the header ``Idempotency-Key`` does not give it.
        metadata: Labels, carried into the log.
        deadline_ms: Longest time its turn may take, in milliseconds.
    """

    text: Annotated[str, Meta(min_length=1, pattern=r"\S")]
    agent: str | None = None
    message_id: _Id | None = None
    metadata: dict[str, str] = {}
    deadline_ms: Annotated[float, Meta(ge=1, le=86_400_000)] | None = None  # JSON's 1.0 is an integer, too


class Accepted(Struct, frozen=True, kw_only=True):
    """What is in Kafka now, and will be dealt with.

    Attributes:
        session_id: The session.
        message_id: Of the message.
        turn_id: Of the turn that answers it.
        cursor: Before the answer's first token: ``after=`` of the session's stream.
    """

    session_id: str
    message_id: str
    turn_id: str
    cursor: str


class CancelOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names the turn that is to end.

    Attributes:
        turn_id: The turn.
        message_id: ... or the message that it answers.
        reason: Kept in the log.
    """

    turn_id: _Id | UnsetType = UNSET
    message_id: _Id | UnsetType = UNSET
    reason: _Reason | UnsetType = UNSET

    schema_extra: ClassVar[dict[str, Any]] = {"anyOf": [{"required": ["turn_id"]}, {"required": ["message_id"]}]}

    def __post_init__(self) -> None:
        if self.turn_id is UNSET and self.message_id is UNSET:
            raise ValueError("name the turn by `turn_id` or `message_id`")


class Cancelling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that is in Kafka now.

    Attributes:
        session_id: The session.
        turn_id: As it was named.
        message_id: As it was named.
    """

    session_id: str
    turn_id: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


class EraseQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of an erasure.

    Attributes:
        reason: Kept in the log.
    """

    reason: _Reason | None = None


@operation(
    "Send a message",
    tag="sessions",
    scope="sessions:write",
    body=NewMessage,
    headers=(IDEMPOTENCY,),
    replies={
        202: Reply(
            Accepted,
            "The broker has confirmed it: it will be answered.",
            headers={"Location": "Where the answer is streamed."},
        )
    },
    refusals=(400, 413, 415, 422, 503),
)
async def send_message(request: Request) -> Response:
    """Answered in order with the session's other messages; a session comes to be with its first one."""
    gateway, principal = gateway_of(request), principal_of(request)
    principal.require("sessions:write")
    session_id = session_of(request)
    key = idempotency_key(request)
    message = await read_body(request, NewMessage)
    return _accepted(session_id, await publish(gateway, principal, session_id, message, message_id=key))


@operation(
    "Cancel a turn",
    tag="sessions",
    scope="sessions:write",
    body=CancelOrder,
    replies={202: Reply(Cancelling, "The broker has confirmed the order.")},
    refusals=(400, 413, 415, 422, 503),
)
async def cancel_turn(request: Request) -> Response:
    """Running or not begun; nothing happens to one that is over, and one that is not known yet is cancelled early.

    The stream says `cancelled` once it is.
    """
    gateway, principal = gateway_of(request), principal_of(request)
    principal.require("sessions:write")
    session_id = session_of(request)
    order = await read_body(request, CancelOrder)
    await publish_cancel(gateway, principal, session_id, order)
    return reply(Cancelling(session_id=session_id, turn_id=order.turn_id, message_id=order.message_id), 202)


@operation(
    "Erase a session",
    tag="sessions",
    scope="sessions:erase",
    query=EraseQuery,
    replies={
        202: Reply(
            Accepted, "The broker has confirmed the order.", headers={"Location": "Where it is told that it is done."}
        )
    },
    refusals=(422, 503),
)
async def erase_session(request: Request) -> Response:
    """Its memory is emptied, in order with its messages: those before it are answered, those behind it begin anew."""
    gateway, principal = gateway_of(request), principal_of(request)
    principal.require("sessions:erase")
    session_id = session_of(request)
    query = read_query(request, EraseQuery)
    sent = await gateway.client.erase(session_id, tenant=principal.tenant, reason=query.reason)
    return _accepted(session_id, sent)


async def publish(
    gateway: Gateway, principal: Principal, session_id: str, message: NewMessage, *, message_id: str | None = None
) -> Sent:
    """Publish a message; ``message_id`` stands above its own. Raises as :meth:`Client.send` and the checks below."""
    checked_session(session_id, principal.tenant, field="id")
    check_text(gateway, message.text, field="text")
    check_agent(gateway, message.agent, field="agent")
    return await gateway.client.send(
        session_id,
        message.text,
        message_id=message_id or message.message_id or uuid.uuid4().hex,
        agent=message.agent,
        tenant=principal.tenant,
        metadata=message.metadata,
        deadline_ms=None if message.deadline_ms is None else int(message.deadline_ms),
    )


async def publish_cancel(gateway: Gateway, principal: Principal, session_id: str, order: CancelOrder) -> None:
    """Publish a cancel; raises as :meth:`Client.cancel`."""
    await gateway.client.cancel(
        session_id,
        turn_id=order.turn_id or None,
        message_id=order.message_id or None,
        tenant=principal.tenant,
        reason=order.reason or None,
    )


def check_text(gateway: Gateway, text: str, *, field: str) -> None:
    """Refuse a text that would become a dead letter.

    Raises:
        Refusal: 422: it is too long.
    """
    longest = gateway.settings.limits.max_text_chars
    if len(text) > longest:
        raise Refusal(422, "oversized_text", f"{len(text)} characters; at most {longest} are taken", field=field)


def check_agent(gateway: Gateway, agent: str | None, *, field: str) -> None:
    """Refuse an agent that is not declared.

    Raises:
        Refusal: 422.
    """
    agents = gateway.settings.agents
    if agent is not None and agent not in agents:
        text = f"there is no agent {agent[:64]!r}; there are {', '.join(sorted(agents))}"
        raise Refusal(422, "unknown_agent", text, field=field)


def _accepted(session_id: str, sent: Sent) -> Response:
    body = Accepted(session_id=session_id, message_id=sent.message_id, turn_id=sent.turn_id, cursor=str(sent.cursor))
    return reply(body, 202, {"Location": stream_path(session_id, sent.cursor)})


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [
        SessionRoute("/sessions/{id}/messages", send_message, methods=["POST"]),
        SessionRoute("/sessions/{id}/cancel", cancel_turn, methods=["POST"]),
        SessionRoute("/sessions/{id}", erase_session, methods=["DELETE"]),
    ]
