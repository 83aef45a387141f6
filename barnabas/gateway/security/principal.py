"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeGuard, get_args

from schemas.errors import ForbiddenError, InvalidMessageError
from topics.partitioner import session_key

#: Read, write and erase sessions of one's own tenant; figures of all of them, and dead letters: those of one's own
#: tenant, of all where one has none.
Scope = Literal["sessions:read", "sessions:write", "sessions:erase", "operate"]

ALL_SCOPES: Final[frozenset[str]] = frozenset(get_args(Scope))

_MAX_TENANT: Final = 256


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request is for; ``request.state.principal`` of every request that needs one.

    Attributes:
        subject: Names it in logs: a key's id, or a token's ``sub``.
        tenant: Part of the key of every session it can name; None where tenants are not used.
        scopes: What it may do.
        expires_at: When its credentials end, in seconds since 1970; its streams end then as well. None: never.
    """

    subject: str
    tenant: str | None
    scopes: frozenset[str]
    expires_at: float | None = None

    def require(self, scope: Scope) -> None:
        """Do nothing where it has the scope.

        Raises:
            ForbiddenError: It has not.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"this takes the scope {scope}", scope=scope)


#: Whoever asks for what is public, where others are asked who they are.
NOBODY: Final = Principal(subject="nobody", tenant=None, scopes=frozenset())
#: Everybody, where security is off.
LOCAL: Final = Principal(subject="local", tenant=None, scopes=ALL_SCOPES)
#: Everybody, where an operator allowed that on an address that others reach.
ANONYMOUS: Final = Principal(subject="anonymous", tenant=None, scopes=ALL_SCOPES)


def is_tenant(name: object) -> TypeGuard[str]:
    """Whether it can be part of a session's key."""
    if not isinstance(name, str) or len(name) > _MAX_TENANT or not name.isprintable():
        return False
    try:
        session_key("s", name)
    except InvalidMessageError:
        return False
    return True
