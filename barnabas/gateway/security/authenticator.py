"""Finds out whose a request is."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from barnabas.gateway.security.api_key import PREFIX
from barnabas.gateway.security.api_keys import ApiKeys
from barnabas.gateway.security.options import SecurityOptions
from barnabas.gateway.security.principal import ANONYMOUS, LOCAL, Principal
from schemas.errors import UnauthenticatedError

if TYPE_CHECKING:
    from barnabas.gateway.security.jwks import Jwks
    from barnabas.gateway.security.jwt_tokens import JwtTokens

#: The WebSocket subprotocol that a client offers beside its credentials; it is the one that is taken.
SUBPROTOCOL: Final = "barnabas.v1"
#: A subprotocol that is none: a browser can set no other header of a WebSocket's handshake.
SUBPROTOCOL_CREDENTIALS: Final = "bearer."

_SCHEME: Final = b"bearer "
#: Longest credentials that are looked at; no token that fits into a header's usual bounds is longer.
_MAX_CHARS: Final = 16 * 1024
_MISSING: Final = "credentials are needed: Authorization: Bearer KEY"


class Authenticator:
    """Turns the credentials of a request into its principal.

    They come in ``Authorization: Bearer …`` or, of a WebSocket, as the subprotocol ``bearer.…`` offered beside
    ``barnabas.v1``; never in a URL, which proxies and browsers write down.

    Args:
        options: The settings.
        is_loopback: Whether only this machine reaches the gateway.
    """

    def __init__(self, options: SecurityOptions, *, is_loopback: bool) -> None:
        self.asks = options.asks
        self._nobody_asked = LOCAL if is_loopback else ANONYMOUS
        self._api_keys = ApiKeys(options.api_keys)
        self._jwks: Jwks | None = None
        self._tokens: JwtTokens | None = None
        if options.jwt is not None:
            from barnabas.gateway.security.jwks import Jwks
            from barnabas.gateway.security.jwt_tokens import JwtTokens

            self._jwks = Jwks(options.jwt)
            self._tokens = JwtTokens(options.jwt, self._jwks)

    async def authenticate(self, credentials: str | None) -> Principal:
        """Return whose credentials they are; where nobody is asked, everybody's.

        Raises:
            UnauthenticatedError: There are none, or they are nobody's.
            KeysUnavailableError: They are a token, and the keys to check it cannot be had.
        """
        if not self.asks:
            return self._nobody_asked
        if credentials is None:
            raise UnauthenticatedError(_MISSING, had_credentials=False)
        if self._tokens is None or credentials.startswith(PREFIX):
            return self._api_keys.verify(credentials)
        return await self._tokens.verify(credentials)

    async def aclose(self) -> None:
        """End what it has under way."""
        if self._jwks is not None:
            await self._jwks.aclose()


def take_credentials(scope: MutableMapping[str, Any]) -> str | None:
    """Return a request's credentials, and take them out of it: what comes behind cannot log or pass them on.

    Raises:
        UnauthenticatedError: They are too long, or there are two.
    """
    found: list[str] = []
    kept: list[tuple[bytes, bytes]] = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            if value[: len(_SCHEME)].lower() == _SCHEME:
                found.append(value[len(_SCHEME) :].strip().decode("latin-1"))
        elif name == b"sec-websocket-protocol":
            words = [word.strip() for word in value.decode("latin-1").split(",")]
            found += _credentials_in(words)
            kept.append((name, ", ".join(_others(words)).encode("latin-1")))
        else:
            kept.append((name, value))
    scope["headers"] = kept
    if "subprotocols" in scope:
        scope["subprotocols"] = _others(scope["subprotocols"])
    if len(found) > 1 or any(len(text) > _MAX_CHARS for text in found):
        raise UnauthenticatedError("one Authorization header is expected", had_credentials=True)
    return found[0] if found else None


def _credentials_in(words: Iterable[str]) -> list[str]:
    start = len(SUBPROTOCOL_CREDENTIALS)
    return [word[start:] for word in words if word.startswith(SUBPROTOCOL_CREDENTIALS)]


def _others(words: Iterable[str]) -> list[str]:
    return [word for word in words if not word.startswith(SUBPROTOCOL_CREDENTIALS)]
