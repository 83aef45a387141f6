"""What an operator may set about who reaches the gateway, with the defaults; light to import: settings read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

#: Signatures that a published key can check. Symmetric ones and ``none`` are not among them, whatever settings say.
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyOptions:
    """One API key, under its id; ``barnabas keys new`` makes the key and these lines.

    Attributes:
        hash: ``sha256:`` and the hash of the whole key. Not secret: nobody finds the key from it.
        scopes: Of ``sessions:read``, ``sessions:write``, ``sessions:erase``, ``operate``.
        tenant: Whose sessions it reaches; those without a tenant where absent.
        expires: When it ends, with its time zone; never where absent.
    """

    hash: str
    scopes: tuple[str, ...]
    tenant: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtOptions:
    """Tokens of an identity provider, checked with the public keys that it publishes (JWKS).

    Attributes:
        issuer: What a token's ``iss`` has to be.
        audience: What a token's ``aud`` has to be or contain.
        jwks_url: Where the keys are published; ``https``, or ``http`` on this machine.
        jwks_file: ... or the file that holds them; read again as often as a URL is fetched.
        algorithms: That signatures may have; asymmetric ones alone.
        tenant_claim: Holds the tenant; a token without it is refused. None: tenants are not used.
        scopes_claim: Holds the scopes: a text with spaces between them, or a list. Unknown ones count for nothing.
        leeway_s: How much clocks may differ, in seconds.
        refresh_s: How old keys may get before they are fetched again, in seconds.
        stale_s: ... and before they are no longer used while they cannot be fetched.
        timeout_s: Longest a fetch may take, in seconds; then a request that needs it is answered with 503.
    """

    issuer: str
    audience: str
    jwks_url: str | None = None
    jwks_file: Path | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    tenant_claim: str | None = "tenant"
    scopes_claim: str = "scope"
    leeway_s: float = 30.0
    refresh_s: float = 300.0
    stale_s: float = 3_600.0
    timeout_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """Who reaches the gateway, and how much of it. Without ``api_keys`` and ``jwt`` nobody is asked who they are.

    Attributes:
        api_keys: By id.
        jwt: Tokens of an identity provider.
        allow_anonymous: Listen on an address that others reach although nobody is asked who they are.
        allowed_hosts: Names that the ``Host`` of a request may have; on a loopback address besides its own names, on
            another any where absent.
        allowed_origins: Other sites whose pages may call the gateway, such as ``https://app.example.com``.
        trusted_proxies: Addresses and networks of proxies whose ``X-Forwarded-For`` and ``-Proto`` are believed.
        max_head_bytes: Largest request line and headers together.
        head_timeout_s: How long they may take to come, in seconds.
        body_timeout_s: How long a body may take to come, in seconds.
        requests_per_s: That one caller may make for long; a caller is a principal, or an address where nobody is asked.
        burst: ... and at once.
        max_streams: Streams and completions under way that one caller may have at once.
    """

    api_keys: dict[str, ApiKeyOptions] = field(default_factory=dict)
    jwt: JwtOptions | None = None
    allow_anonymous: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    max_head_bytes: int = 32 * 1024
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    requests_per_s: float = 100.0
    burst: int = 500
    max_streams: int = 1_000

    @property
    def asks(self) -> bool:
        """Whether anybody is asked who they are."""
        return bool(self.api_keys) or self.jwt is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """The gateway's own TLS; a proxy in front of it may do that instead.

    Attributes:
        certificate: PEM file with the certificate and those above it.
        key: PEM file with its private key.
    """

    certificate: Path | None = None
    key: Path | None = None
