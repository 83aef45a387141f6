"""Routes that name a session: whatever its id, it is one segment of the path.

Servers hand over a path that is decoded already: ``/sessions/team%2Fada`` would be told from ``/sessions/team/ada`` no
more, and no route takes that. The gateway makes no such session, but a publisher to Kafka with a tenant may.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

from starlette.routing import Match, Route, WebSocketRoute
from starlette.types import Scope

#: Stands for an encoded slash while a path is matched; no request holds it, since it has no form in UTF-8.
_KEPT: Final = "\udc2f"
_ENCODED: Final = re.compile("%2f", re.IGNORECASE)


class SessionRoute(Route):
    """Takes a percent-encoded ``/`` for a part of the id."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request; see :class:`Route`."""
        return _given_back(super().matches(_kept(scope)))


class SessionSocketRoute(WebSocketRoute):
    """The same of a WebSocket."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a handshake; see :class:`WebSocketRoute`."""
        return _given_back(super().matches(_kept(scope)))


def _kept(scope: Scope) -> Scope:
    """Return the scope with its encoded slashes kept apart."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%2f" not in raw.lower():
        return scope
    return {**scope, "path": unquote(_ENCODED.sub(_KEPT, raw.decode("ascii")))}


def _given_back(matched: tuple[Match, Scope]) -> tuple[Match, Scope]:
    match, found = matched
    named: dict[str, Any] = found.get("path_params", {})
    if not any(_KEPT in value for value in named.values() if isinstance(value, str)):
        return matched
    return match, {**found, "path_params": {name: value.replace(_KEPT, "/") for name, value in named.items()}}
