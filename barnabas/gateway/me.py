"""``GET /me``: who asks, and what they may do; a page shows what is open to them."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.bodies import reply
from barnabas.gateway.naming import principal_of
from barnabas.gateway.operation import Reply, operation


class MeView(Struct, frozen=True, kw_only=True):
    """Whoever asks.

    Attributes:
        subject: A key's id (``key:web``), or a token's ``sub``; ``local`` or ``anonymous`` where nobody is asked.
        tenant: Whose sessions they are; null where tenants are not used.
        scopes: What the caller may do.
        expires_at: When the credentials end, Unix ms; null for never.
    """

    subject: str
    tenant: str | None
    scopes: list[str]
    expires_at: int | None


@operation(
    "Show who asks",
    tag="operation",
    scope=None,
    replies={200: Reply(MeView, "The caller.")},
    refusals=(401, 429),
)
async def show_me(request: Request) -> Response:
    """The caller's tenant and scopes, by the credentials of this request; any that are good will do."""
    principal = principal_of(request)
    expires_at = principal.expires_at
    return reply(
        MeView(
            subject=principal.subject,
            tenant=principal.tenant,
            scopes=sorted(principal.scopes),
            expires_at=None if expires_at is None else int(expires_at * 1000),
        )
    )


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/me", show_me, methods=["GET"])]
