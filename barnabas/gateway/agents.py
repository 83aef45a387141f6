"""``GET /agents``: who may answer."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct, field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import read_query, reply
from barnabas.gateway.gateway import gateway_of
from barnabas.gateway.naming import principal_of
from barnabas.gateway.operation import Reply, operation
from barnabas.settings import Settings


class AgentsQuery(Struct, frozen=True, kw_only=True):
    """Which agents.

    Attributes:
        page: From 1.
        limit: How many on a page.
    """

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class AgentView(Struct, frozen=True, kw_only=True):
    """An agent, as this gateway's settings declare it.

    Attributes:
        name: Its name.
        model: Its model.
        is_default: Whether it answers messages that name none.
        tools: What its model may call: ``module:function``.
        max_concurrent_turns: Its share of a worker's slots.
        max_steps: Model calls a turn may take.
        memory_tokens: Budget of a session's memory, in estimated tokens.
    """

    name: str
    model: str
    is_default: bool
    tools: tuple[str, ...]
    max_concurrent_turns: int
    max_steps: int
    memory_tokens: int


class Pagination(Struct, frozen=True, kw_only=True):
    """Where a page is.

    Attributes:
        page: Its number, from 1.
        limit: How many on a page.
        total: How many there are.
        total_pages: How many pages that makes.
    """

    page: int
    limit: int
    total: int
    total_pages: int = field(name="totalPages")


class AgentsPage(Struct, frozen=True, kw_only=True):
    """Some agents.

    Attributes:
        agents: In the order of their names.
        pagination: Where this page is.
    """

    agents: list[AgentView]
    pagination: Pagination


@operation(
    "List agents",
    tag="operation",
    scope="sessions:read",
    query=AgentsQuery,
    replies={200: Reply(AgentsPage, "A page.")},
    refusals=(401, 403, 422),
)
async def list_agents(request: Request) -> Response:
    """The agents that the deployment's settings declare; a page beyond the last one is empty."""
    principal_of(request).require("sessions:read")
    query, agents = read_query(request, AgentsQuery), agents_of(gateway_of(request).settings)
    first = (query.page - 1) * query.limit
    pagination = Pagination(
        page=query.page, limit=query.limit, total=len(agents), total_pages=math.ceil(len(agents) / query.limit)
    )
    return reply(AgentsPage(agents=agents[first : first + query.limit], pagination=pagination))


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/agents", list_agents, methods=["GET"])]


def agents_of(settings: Settings) -> list[AgentView]:
    """Return the declared agents, in the order of their names."""
    return [
        AgentView(
            name=name,
            model=declared.model or settings.model,
            is_default=name == settings.answering_agent,
            tools=declared.tools,
            max_concurrent_turns=declared.max_concurrent_turns,
            max_steps=declared.max_steps,
            memory_tokens=declared.memory_tokens,
        )
        for name, declared in sorted(settings.agents.items())
    ]
