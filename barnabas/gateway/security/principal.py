"""Who asks: made from a request's credentials, and all that a handler knows of its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import ForbiddenError

Scope = Literal["sessions:read", "sessions:write", "sessions:erase", "operate"]

ALL_SCOPES: Final[frozenset[str]] = frozenset({"sessions:read", "sessions:write", "sessions:erase", "operate"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        subject: Its name, for logs.
        tenant: Whose sessions it reaches; None where tenants are not used.
        scopes: What it may do.
    """

    subject: str
    tenant: str | None
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Refuse what it may not do.

        Raises:
            ForbiddenError: It lacks the scope.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"this takes the scope {scope}")


#: Everybody, where security is off.
LOCAL: Final = Principal("local", None, ALL_SCOPES)
