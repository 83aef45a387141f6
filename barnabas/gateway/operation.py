"""How a handler says what it takes and gives: the OpenAPI document is made from this, and from nothing else.

::

    @operation(
        "Cancel a turn",
        tag="sessions",
        scope="sessions:write",
        body=CancelOrder,
        replies={202: Reply(Cancelled, "The order is in Kafka.")},
        refusals=(400, 413, 415, 422, 503),
    )
    async def cancel(request: Request) -> Response:
        \"\"\"What stands here is the operation's description.\"\"\"
        order = await read_body(request, CancelOrder)

The scope is asked for before the handler runs: none can forget to.
Path parameters are the route's own. ``query`` is a struct that the handler reads with :func:`~bodies.read_query`. A
struct's field texts come from its docstring; what its types cannot say stands in a ``schema_extra: ClassVar`` of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast

from msgspec import Struct
from starlette.requests import HTTPConnection

from barnabas.gateway.security.principal import Scope

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_ATTRIBUTE: Final = "barnabas_operation"

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that a handler reads.

    Attributes:
        name: As it is sent.
        text: What it does.
        schema: Its JSON schema.
    """

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that is no refusal.

    Attributes:
        body: The struct in it; ``str`` for text, None for nothing.
        text: What it means.
        media: Its media types; each has the same body.
        headers: Those of interest, with what they say.
    """

    body: Any
    text: str
    media: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the interface; see the module's example.

    Attributes:
        summary: A few words.
        description: Sentences; the handler's docstring.
        tag: Its group.
        scope: What the caller needs; None where nobody is asked.
        body: The request's struct.
        query: A struct of its query parameters.
        headers: Those it reads.
        replies: By status.
        refusals: Statuses of the problems it may answer with.
        style: The shape of its problems.
    """

    summary: str
    description: str
    tag: str
    scope: Scope | None
    body: Any
    query: type[Struct] | None
    headers: tuple[Header, ...]
    replies: Mapping[int, Reply]
    refusals: tuple[int, ...]
    style: Literal["problem", "openai"]


def operation(
    summary: str,
    *,
    tag: str,
    scope: Scope | None,
    replies: Mapping[int, Reply],
    body: Any = None,
    query: type[Struct] | None = None,
    headers: tuple[Header, ...] = (),
    refusals: tuple[int, ...] = (),
    style: Literal["problem", "openai"] = "problem",
) -> Callable[[_Handler], _Handler]:
    """Describe the handler it decorates; the arguments are :class:`Operation`'s."""

    def describe(handler: _Handler) -> _Handler:
        made = Operation(
            summary=summary,
            description=inspect.getdoc(handler) or "",
            tag=tag,
            scope=scope,
            body=body,
            query=query,
            headers=headers,
            replies=replies,
            refusals=refusals,
            style=style,
        )

        @functools.wraps(handler)
        async def permitted(request: HTTPConnection) -> Any:
            if scope is not None:
                request.state.principal.require(scope)
            return await handler(request)

        setattr(permitted, _ATTRIBUTE, made)
        return cast("_Handler", permitted)

    return describe


def operation_of(handler: Any) -> Operation | None:
    """Return a handler's description; None where it has none."""
    found: Operation | None = getattr(handler, _ATTRIBUTE, None)
    return found
