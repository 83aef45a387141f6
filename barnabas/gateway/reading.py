"""Sessions over HTTP: which there are, what one is and was, its events, its transcript, its memories."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import read_query, reply
from barnabas.gateway.freshness import Freshness
from barnabas.gateway.gateway import gateway_of
from barnabas.gateway.naming import principal_of, session_of
from barnabas.gateway.operation import JSON, Header, Reply, operation
from barnabas.gateway.paging import OFFSET_PATTERN, PLACE_PATTERN, Place, number_of, page, place_of
from barnabas.gateway.problems import Refusal
from barnabas.gateway.security.principal import Principal
from barnabas.gateway.session_route import SessionRoute
from barnabas.gateway.session_views import (
    EventsPage,
    MemoriesPage,
    Memory,
    SessionsPage,
    SessionView,
    TranscriptView,
    event_fields,
    memory_of,
    session_view,
)
from barnabas.history.moment import Moment
from barnabas.history.transcript import render
from schemas.errors import NotFoundError, SettingsError
from schemas.session import Session
from streams.reading.views import Selection, SessionState, state_of
from topics.partitioner import session_key

_MARKDOWN: Final = "text/markdown"
FRESHNESS_HEADER: Final = "Barnabas-Freshness"

_Limit = Annotated[int, Meta(ge=1, le=100)]
_Offset = Annotated[str, Meta(pattern=OFFSET_PATTERN)]
_Place = Annotated[str, Meta(pattern=PLACE_PATTERN)]
_Key = Annotated[str, Meta(min_length=1, max_length=1024)]
_Moment = Annotated[str, Meta(min_length=1, max_length=64)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]


class SessionsQuery(Struct, frozen=True, kw_only=True):
    """Which sessions.

    Attributes:
        limit: How many at most.
        cursor: The ``next_cursor`` of the page before.
        agent: The agent that answered last.
        state: What they are doing.
        since: Changed then or later: a time such as ``2026-11-21T13:00:00Z``, how long ago, such as ``-15m``, or Unix
            time in milliseconds.
        until: ... and before then.
    """

    limit: _Limit = 50
    cursor: _Key | None = None
    agent: _Name | None = None
    state: Literal["idle", "running", "suspended"] | None = None
    since: _Moment | None = None
    until: _Moment | None = None


class SessionQuery(Struct, frozen=True, kw_only=True):
    """Which state of a session.

    Attributes:
        at: As it was behind the event at this offset, at a time such as ``2026-11-21T13:00:00Z``, or so long ago, such
            as ``-15m``; as it is unless given.
    """

    at: _Moment | None = None


class EventsQuery(Struct, frozen=True, kw_only=True):
    """Which events.

    Attributes:
        limit: How many at most.
        cursor: The ``next_cursor`` of the page before.
        order: ``asc``: oldest first. ``desc``: newest first.
    """

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    cursor: _Offset | None = None
    order: Literal["asc", "desc"] = "asc"


class TranscriptQuery(Struct, frozen=True, kw_only=True):
    """How a transcript is written.

    Attributes:
        format: ``md`` or ``json``; what ``Accept`` prefers unless given.
    """

    format: Literal["md", "json"] | None = None


class MemoriesQuery(Struct, frozen=True, kw_only=True):
    """Which memories.

    Attributes:
        limit: How many at most.
        cursor: The ``nextCursor`` of the page before.
        order: ``desc``: newest first. ``asc``: oldest first.
    """

    limit: _Limit = 20
    cursor: _Place | None = None
    order: Literal["asc", "desc"] = "desc"


@operation(
    "List sessions",
    tag="sessions",
    scope="sessions:read",
    query=SessionsQuery,
    replies={200: Reply(SessionsPage, "A page.")},
    refusals=(400, 401, 403, 422, 503),
)
async def list_sessions(request: Request) -> Response:
    """Sessions in the order of their ids. A page goes on behind the last id of the one before, whatever came since."""
    principal, query = _reader(request), read_query(request, SessionsQuery)
    prefix = "" if principal.tenant is None else f"{principal.tenant}/"
    selection = Selection(
        prefix=prefix,
        is_tenantless=principal.tenant is None,
        agent=query.agent,
        state=None if query.state is None else SessionState(query.state),
        since=_time(query.since, "since"),
        until=_time(query.until, "until"),
    )
    after = "" if query.cursor is None else prefix + query.cursor
    found = await gateway_of(request).reads.sessions(selection, after=after, limit=query.limit)
    shown = [replace(session, session_id=session.session_id[len(prefix) :]) for session in found.sessions]
    following = found.following
    return reply(
        SessionsPage(
            sessions=shown,
            next_cursor=None if following is None else following[len(prefix) :],
            has_more=following is not None,
            freshness=found.freshness,
        )
    )


@operation(
    "Show a session",
    tag="sessions",
    scope="sessions:read",
    query=SessionQuery,
    replies={200: Reply(SessionView, "The session.")},
    refusals=(400, 401, 403, 404, 410, 422, 503),
)
async def show_session(request: Request) -> Response:
    """A session as it is, from the worker that owns it, or as it was, from the log.

    What was before an erasure is not shown.
    """
    key, query = _key(request), read_query(request, SessionQuery)
    if query.at is None:
        session, freshness = await _session(request, key)
    else:
        moment = _moment(query.at, "at")
        was, freshness = await gateway_of(request).reads.log.session(key, moment)
        if was is None:
            raise NotFoundError("there is no such session, or there was none then")
        session = was
    return reply(session_view(session, session_of(request), freshness))


@operation(
    "Show a session's events",
    tag="sessions",
    scope="sessions:read",
    query=EventsQuery,
    replies={200: Reply(EventsPage, "A page.")},
    refusals=(400, 401, 403, 404, 410, 422, 503),
)
async def list_events(request: Request) -> Response:
    """Every record of the log about the session, with what the fold made of it; what an erasure ended is not shown."""
    key, query = _key(request), read_query(request, EventsQuery)
    found, freshness = await gateway_of(request).reads.log.events(
        key,
        place=None if query.cursor is None else number_of(query.cursor),
        limit=query.limit,
        newest_first=query.order == "desc",
    )
    if found is None:
        raise _unknown()
    session_id = session_of(request)
    return reply(
        EventsPage(
            events=[event_fields(logged, session_id) for logged in found.events],
            next_cursor=None if found.following is None else str(found.following),
            has_more=found.has_more,
            freshness=freshness,
        )
    )


@operation(
    "Show a session's transcript",
    tag="sessions",
    scope="sessions:read",
    query=TranscriptQuery,
    headers=(Header(name="Accept", text="``application/json`` or ``text/markdown``, where ``format`` is not given."),),
    replies={
        200: Reply(
            TranscriptView,
            "The conversation.",
            media=(JSON, _MARKDOWN),
            headers={FRESHNESS_HEADER: "Of Markdown: where it comes from."},
        )
    },
    refusals=(400, 401, 403, 404, 410, 422, 503),
)
async def show_transcript(request: Request) -> Response:
    """Every turn that counts, oldest first, whatever the memory has let go; an erased session's begins behind it."""
    key, query = _key(request), read_query(request, TranscriptQuery)
    turns, freshness = await gateway_of(request).reads.log.transcript(key)
    if turns is None:
        raise _unknown()
    session_id = session_of(request)
    wanted = query.format or _preferred(request.headers.get("accept", ""))
    if wanted == "json":
        return reply(
            TranscriptView(session_id=session_id, turns=turns, freshness=freshness), headers={"Vary": "Accept"}
        )
    headers = {"Cache-Control": "no-store", "Vary": "Accept", FRESHNESS_HEADER: freshness.header()}
    return Response(render(session_id, turns, "md"), 200, headers, f"{_MARKDOWN}; charset=utf-8")


@operation(
    "List a session's memories",
    tag="sessions",
    scope="sessions:read",
    query=MemoriesQuery,
    replies={200: Reply(MemoriesPage, "A page.")},
    refusals=(400, 401, 403, 404, 410, 422, 503),
)
async def list_memories(request: Request) -> Response:
    """What the session remembers, ordered by timestamp and id. A page goes on behind the last one, whatever came since.

    Memories that leave between two pages (compaction, erasure) are gone from the rest.
    """
    key, query = _key(request), read_query(request, MemoriesQuery)
    behind = None if query.cursor is None else place_of(query.cursor)
    session, freshness = await _session(request, key)
    memories, following = page(
        map(memory_of, session.memory), _place_of, behind=behind, limit=query.limit, newest_first=query.order == "desc"
    )
    return reply(
        MemoriesPage(
            memories=memories,
            next_cursor=None if following is None else str(following),
            has_more=following is not None,
            freshness=freshness,
        )
    )


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    of_session = "/sessions/{id}"
    return [
        Route("/sessions", list_sessions, methods=["GET"]),
        SessionRoute(of_session, show_session, methods=["GET"]),
        SessionRoute(f"{of_session}/events", list_events, methods=["GET"]),
        SessionRoute(f"{of_session}/transcript", show_transcript, methods=["GET"]),
        SessionRoute(f"{of_session}/memories", list_memories, methods=["GET"]),
    ]


def _reader(request: Request) -> Principal:
    principal = principal_of(request)
    principal.require("sessions:read")
    return principal


def _key(request: Request) -> bytes:
    """Return the key of the session that the path names: the caller's own, whatever it says."""
    return session_key(session_of(request), _reader(request).tenant)


async def _session(request: Request, key: bytes) -> tuple[Session, Freshness]:
    session, freshness = await gateway_of(request).reads.session(key)
    if session is None or state_of(session) is SessionState.ERASED:
        raise _unknown()
    return session, freshness


def _unknown() -> NotFoundError:
    return NotFoundError("there is no such session")


def _place_of(memory: Memory) -> Place:
    return Place(memory.timestamp, memory.id)


def _moment(text: str, field: str) -> Moment:
    try:
        return Moment.of(text)
    except (SettingsError, OverflowError) as error:
        raise Refusal(422, "invalid_parameter", str(error), field=field) from error


def _time(text: str | None, field: str) -> int | None:
    """Return Unix ms; a bare number is that already."""
    if text is None:
        return None
    moment = _moment(text, field)
    return moment.offset if moment.offset is not None else moment.time_ms


def _preferred(accept: str) -> Literal["md", "json"]:
    """Return what a header ``Accept`` prefers; Markdown where it does not matter."""
    weights = {"md": 0.0, "json": 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 0.0
        if media in {"application/json", "application/*"}:
            weights["json"] = max(weights["json"], weight)
        elif media in {_MARKDOWN, "text/plain", "text/*"}:
            weights["md"] = max(weights["md"], weight)
    return "json" if weights["json"] > weights["md"] else "md"
