"""The API keys of the settings, checked."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from barnabas.gateway.security.api_key import KEY, hash_key
from barnabas.gateway.security.options import ApiKeyOptions
from barnabas.gateway.security.principal import Principal
from schemas.errors import UnauthenticatedError

_REFUSED: Final = "the API key is unknown or has expired"
#: Compared with where an id is unknown, so that it takes as long as a known one.
_NOBODY: Final = ApiKeyOptions(hash="sha256:" + "0" * 64, scopes=())


class ApiKeys:
    """The keys of the settings.

    Args:
        keys: By id.
        now: Seconds since 1970.
    """

    def __init__(self, keys: Mapping[str, ApiKeyOptions], *, now: Callable[[], float] = time.time) -> None:
        self._keys = dict(keys)
        self._now = now
        self._principals = {
            key_id: Principal(
                subject=f"key:{key_id}",
                tenant=key.tenant,
                scopes=frozenset(key.scopes),
                expires_at=key.expires.timestamp() if key.expires is not None else None,
            )
            for key_id, key in self._keys.items()
        }

    def verify(self, key: str) -> Principal:
        """Return whose key it is.

        A known and an unknown id take the same path: one hash, one comparison in constant time. Whether a key is
        unknown, wrong or expired is not said.

        Raises:
            UnauthenticatedError: Nobody's, or it has expired.
        """
        form = KEY.fullmatch(key)
        if form is None:
            raise UnauthenticatedError(_REFUSED, had_credentials=True)
        found = self._keys.get(form["id"], _NOBODY)
        is_right = hmac.compare_digest(hash_key(key), found.hash)
        principal = self._principals.get(form["id"])
        if not is_right or principal is None:
            raise UnauthenticatedError(_REFUSED, had_credentials=True)
        if principal.expires_at is not None and principal.expires_at <= self._now():
            raise UnauthenticatedError(_REFUSED, had_credentials=True)
        return principal
