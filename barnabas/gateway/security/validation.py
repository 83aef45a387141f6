"""What security settings cannot be."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from urllib.parse import urlsplit

from barnabas.gateway.security.api_key import HASH, ID
from barnabas.gateway.security.exposure import is_loopback_name
from barnabas.gateway.security.options import ALGORITHMS, ApiKeyOptions, JwtOptions, SecurityOptions, TlsOptions
from barnabas.gateway.security.principal import ALL_SCOPES, is_tenant
from barnabas.sources import FieldError


def check_security(options: SecurityOptions) -> None:
    """Do nothing where they can be.

    Raises:
        FieldError: One cannot; the text never holds its value where that may be a key.
    """
    for key_id, key in options.api_keys.items():
        _check_api_key(key_id, key)
    if options.jwt is not None:
        _check_jwt(options.jwt)
    if options.asks and options.allow_anonymous:
        raise FieldError(("security", "allow_anonymous"), "it contradicts api_keys and jwt: take it out, or them")
    _check_names(options)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            raise FieldError(("security", field.name), f"{value} is impossible; it is above 0")


def _check_names(options: SecurityOptions) -> None:
    for origin in options.allowed_origins:
        if not _is_origin(origin):
            text = f"{origin!r} is no origin, such as https://app.example.com: no path, no pattern"
            raise FieldError(("security", "allowed_origins"), text)
    for name in options.allowed_hosts:
        if not name or any(sign in name for sign in "/*: "):
            raise FieldError(
                ("security", "allowed_hosts"), f"{name!r} is no host's name; it has no scheme, port or pattern"
            )
    for address in options.trusted_proxies:
        try:
            ip_network(address)
        except ValueError as error:
            text = f"{address!r} is no address or network, such as 10.0.0.0/8 ({error})"
            raise FieldError(("security", "trusted_proxies"), text) from error


def check_tls(options: TlsOptions) -> None:
    """Do nothing where they can be; raises ``FieldError``."""
    if (options.certificate is None) != (options.key is None):
        missing = "certificate" if options.certificate is None else "key"
        raise FieldError(("tls", missing), "certificate and key belong together")


def _check_api_key(key_id: str, key: ApiKeyOptions) -> None:
    place = ("security", "api_keys", key_id)
    if not ID.fullmatch(key_id):
        raise FieldError(place, "an id has at most 32 lower-case letters, digits and '-' within")
    if not HASH.fullmatch(key.hash):
        text = "it is sha256: and 64 hexadecimal digits, as barnabas keys new prints it; never the key itself"
        raise FieldError((*place, "hash"), text)
    if not key.scopes:
        raise FieldError((*place, "scopes"), f"none is given; there are {', '.join(sorted(ALL_SCOPES))}")
    if unknown := set(key.scopes) - ALL_SCOPES:
        text = f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(ALL_SCOPES))}"
        raise FieldError((*place, "scopes"), text)
    if key.tenant is not None and not is_tenant(key.tenant):
        raise FieldError((*place, "tenant"), "a tenant is not empty, has no '/' and at most 256 printable characters")
    if key.expires is not None and key.expires.tzinfo is None:
        raise FieldError((*place, "expires"), "say its time zone: 2027-01-31T00:00:00Z")


def _check_jwt(options: JwtOptions) -> None:
    if (options.jwks_url is None) == (options.jwks_file is None):
        raise FieldError(
            ("security", "jwt", "jwks_url"), "one of jwks_url and jwks_file is needed", ("security", "jwt", "jwks_file")
        )
    for name in ("issuer", "audience"):
        if not getattr(options, name):
            raise FieldError(("security", "jwt", name), "it is empty; then a token for anybody would be good")
    if options.jwks_url is not None:
        address = urlsplit(options.jwks_url)
        is_local = address.scheme == "http" and is_loopback_name(address.hostname or "")
        if not address.hostname or not (address.scheme == "https" or is_local):
            text = "it is an https address; over http anybody on the way could put a key of theirs in"
            raise FieldError(("security", "jwt", "jwks_url"), text)
    unknown = set(options.algorithms) - ALGORITHMS
    if unknown or not options.algorithms:
        text = f"{', '.join(sorted(unknown)) or 'none'}: not allowed; there are {', '.join(sorted(ALGORITHMS))}"
        raise FieldError(("security", "jwt", "algorithms"), text)
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, int | float) and (value < 0 or (value == 0 and field.name != "leeway_s")):
            raise FieldError(("security", "jwt", field.name), f"{value} is impossible; it is above 0")
    if options.stale_s < options.refresh_s:
        raise FieldError(("security", "jwt", "stale_s"), "at least jwt.refresh_s", ("security", "jwt", "refresh_s"))


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    if url.scheme not in {"http", "https"} or not url.hostname or "*" in text or text != text.lower():
        return False
    return text == f"{url.scheme}://{url.netloc}" and "@" not in text and port not in {80, 443}
