"""``GET /dead-letters``: what could not be handled."""

from __future__ import annotations

import asyncio
import heapq
from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.dead_letters import PlacedLetter, Selection
from barnabas.gateway.bodies import read_query, reply
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.naming import principal_of
from barnabas.gateway.operation import Reply, operation
from barnabas.gateway.paging import PLACE_PATTERN, Place, place_of

#: Of a dead letter's value so much is shown.
_PREVIEW_BYTES: Final = 512


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
        session_id: The session's key, where it could be told.
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
    """Records that could not be handled, of all tenants, newest first; ``barnabas dead-letters`` deals with them."""
    principal_of(request).require("operate")
    gateway, query = gateway_of(request), read_query(request, DeadLettersQuery)
    behind = None if query.cursor is None else place_of(query.cursor)
    found = await asyncio.to_thread(_dead_letters, gateway, query, behind)
    chosen = found[: query.limit]
    has_more = len(found) > query.limit
    return reply(
        DeadLettersPage(
            dead_letters=[letter for _, letter in chosen],
            next_cursor=str(chosen[-1][0]) if has_more else None,
            has_more=has_more,
        )
    )


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/dead-letters", list_dead_letters, methods=["GET"])]


def _dead_letters(
    gateway: Gateway, query: DeadLettersQuery, behind: Place | None
) -> list[tuple[Place, DeadLetterView]]:
    """Return the newest dead letters behind a place, one more than fit on the page; of all others nothing is kept."""
    log = gateway.reads.dead_letters()
    selection = Selection(cause=query.cause, with_resolved=query.with_resolved)
    placed = ((_place(letter), letter_view(letter)) for letter in log.read(selection))
    wanted = (one for one in placed if behind is None or one[0] < behind)
    return heapq.nlargest(query.limit + 1, wanted, key=lambda one: one[0])


def _place(placed: PlacedLetter) -> Place:
    position = placed.position
    return Place(placed.letter.occurred_at, f"{position.partition:05}.{position.offset:020}")


def letter_view(placed: PlacedLetter) -> DeadLetterView:
    """Return a dead letter as it is shown; no more than some hundred bytes of it."""
    letter, resolved, value = placed.letter, placed.resolved, placed.letter.value
    return DeadLetterView(
        position=str(placed.position),
        occurred_at=letter.occurred_at,
        cause=letter.cause,
        detail=letter.detail,
        session_id=letter.session_id,
        message_id=letter.message_id,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        value_bytes=None if value is None else len(value),
        preview=None if value is None else value[:_PREVIEW_BYTES].decode(errors="replace"),
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
