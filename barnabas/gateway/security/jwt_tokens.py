"""JSON Web Tokens of an identity provider, checked."""

from __future__ import annotations

from typing import Any, Final

import jwt
import structlog
from jwt.exceptions import InvalidTokenError, PyJWTError

from barnabas.gateway.security.jwks import Jwks
from barnabas.gateway.security.options import ALGORITHMS, JwtOptions
from barnabas.gateway.security.principal import ALL_SCOPES, Principal, is_tenant
from schemas.errors import UnauthenticatedError

_log = structlog.get_logger(__name__)

_MAX_SUBJECT: Final = 256


class JwtTokens:
    """Turns a token into its principal.

    Args:
        options: What a token has to say.
        keys: The issuer's.
    """

    def __init__(self, options: JwtOptions, keys: Jwks) -> None:
        self._options = options
        self._keys = keys
        self._algorithms = [name for name in options.algorithms if name in ALGORITHMS]

    async def verify(self, token: str) -> Principal:
        """Return whose token it is.

        What is wrong with a token goes to the log at ``debug``, never the token; the caller learns that it is invalid.

        Raises:
            UnauthenticatedError: It is no token of the issuer for this audience, has expired, or names no tenant.
            KeysUnavailableError: The issuer's keys cannot be had.
        """
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError) as error:
            raise _refused(error) from error
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(kid, str) or algorithm not in self._algorithms:
            raise _refused("no key id, or an algorithm that is not allowed")
        key = await self._keys.key(kid)
        try:
            claims = jwt.decode(
                token,
                key.key,  # not the PyJWK: then the header would say how its key is to be used
                algorithms=self._algorithms_of(key.algorithm_name),
                issuer=self._options.issuer,
                audience=self._options.audience,
                leeway=self._options.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
        except (InvalidTokenError, PyJWTError, ValueError, TypeError) as error:
            raise _refused(error) from error
        return self._principal(claims)

    def _algorithms_of(self, name: str) -> list[str]:
        """Return the algorithms that a key is good for: RS and PS share their keys."""
        if name.startswith(("RS", "PS")):
            return [algorithm for algorithm in self._algorithms if algorithm.startswith(("RS", "PS"))]
        return [algorithm for algorithm in self._algorithms if algorithm == name]

    def _principal(self, claims: dict[str, Any]) -> Principal:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
            raise _refused("sub is empty or too long")
        tenant: str | None = None
        if self._options.tenant_claim is not None:
            tenant = claims.get(self._options.tenant_claim)
            if not is_tenant(tenant):
                raise _refused(f"no tenant in the claim {self._options.tenant_claim}")
        scopes = claims.get(self._options.scopes_claim, ())
        words = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list) else ()
        return Principal(
            subject=subject,
            tenant=tenant,
            scopes=ALL_SCOPES.intersection(word for word in words if isinstance(word, str)),
            expires_at=float(claims["exp"]) + self._options.leeway_s,
        )


def _refused(cause: object) -> UnauthenticatedError:
    _log.debug("token refused", cause=str(cause))
    return UnauthenticatedError("the token is invalid or has expired", had_credentials=True)
