"""``GET /dead-letters``: what could not be handled."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import read_query, reply
from barnabas.gateway.gateway import gateway_of
from barnabas.gateway.letter_pages import Question, ShownLetter, session_of_letter
from barnabas.gateway.naming import principal_of
from barnabas.gateway.operation import Reply, operation
from barnabas.gateway.paging import PLACE_PATTERN, place_of


class DeadLettersQuery(Struct, frozen=True, kw_only=True):
    """Which dead letters.

    Attributes:
        limit: How many at most.
        cursor: The ``next_cursor`` of the page before.
        cause: The error code.
        with_resolved: Retried and dropped ones, too.
    """

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, Meta(pattern=PLACE_PATTERN)] | None = None
    cause: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    with_resolved: bool = False


class ResolvedView(Struct, frozen=True, kw_only=True):
    """What was done with a dead letter.

    Attributes:
        how: ``retried`` or ``dropped``.
        by: Who did it.
        occurred_at: Unix ms.
        published_to: ``topic-partition-offset`` of the record that was published again.
    """

    how: str
    by: str
    occurred_at: int
    published_to: str | None


class DeadLetterView(Struct, frozen=True, kw_only=True):
    """A record that could not be handled.

    Attributes:
        position: ``partition:offset`` in the topic of dead letters.
        occurred_at: When it was put aside, Unix ms.
        cause: The error code.
        detail: The error's text.
        tenant: The session's tenant; null for none, and where it could not be told.
        session_id: The session, where it could be told.
        message_id: The message's id, where it could be told.
        topic: Where the record lay; so are ``partition`` and ``offset``.
        partition: Its partition there.
        offset: Its offset there.
        value_bytes: Length of its value; null where it had none.
        preview: The beginning of its value as text.
        retry_of: Position of the dead letter whose retry failed again.
        resolved: What was done with it; null for nothing.
    """

    position: str
    occurred_at: int
    cause: str
    detail: str
    tenant: str | None
    session_id: str | None
    message_id: str | None
    topic: str
    partition: int
    offset: int
    value_bytes: int | None
    preview: str | None
    retry_of: str | None
    resolved: ResolvedView | None


class DeadLettersPage(Struct, frozen=True, kw_only=True):
    """Some dead letters.

    Attributes:
        dead_letters: Newest first.
        next_cursor: For the next page; null where there is none.
        has_more: Whether more follow.
    """

    dead_letters: list[DeadLetterView]
    next_cursor: str | None
    has_more: bool


@operation(
    "List dead letters",
    tag="operation",
    scope="operate",
    query=DeadLettersQuery,
    replies={200: Reply(DeadLettersPage, "A page.")},
    refusals=(400, 401, 403, 422, 503),
)
async def list_dead_letters(request: Request) -> Response:
    """Records that could not be handled, newest first; ``barnabas dead-letters`` deals with them.

    A caller with a tenant sees those of its tenant's sessions, one without sees all.
    """
    principal = principal_of(request)
    principal.require("operate")
    gateway, query = gateway_of(request), read_query(request, DeadLettersQuery)
    behind = None if query.cursor is None else place_of(query.cursor)
    question = Question(query.limit, behind, query.cause, with_resolved=query.with_resolved, tenant=principal.tenant)
    found = await gateway.reads.letters.page(question)
    return reply(
        DeadLettersPage(
            dead_letters=[letter_view(letter) for letter in found.letters],
            next_cursor=None if found.following is None else str(found.following),
            has_more=found.following is not None,
        )
    )


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/dead-letters", list_dead_letters, methods=["GET"])]


def letter_view(shown: ShownLetter) -> DeadLetterView:
    """Return a dead letter as it is shown; no more than some hundred bytes of it."""
    letter, resolved = shown.letter, shown.resolved
    tenant, session_id = session_of_letter(letter)
    return DeadLetterView(
        position=str(shown.position),
        occurred_at=letter.occurred_at,
        cause=letter.cause,
        detail=letter.detail,
        tenant=tenant,
        session_id=session_id,
        message_id=letter.message_id,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        value_bytes=shown.value_bytes,
        preview=None if letter.value is None else letter.value.decode(errors="replace"),
        retry_of=letter.retry_of,
        resolved=None
        if resolved is None
        else ResolvedView(
            how=resolved.how.value,
            by=resolved.by,
            occurred_at=resolved.occurred_at,
            published_to=resolved.published_to,
        ),
    )
