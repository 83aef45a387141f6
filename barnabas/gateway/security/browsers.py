"""What a browser may be made to do by a page of somebody else: refused by ``Host`` and ``Origin``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from barnabas.gateway.problems import Refusal
from barnabas.gateway.security.exposure import is_loopback_name

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
#: What a browser says of a request that a page of the same origin makes, or a person.
_OWN_SITES: Final = frozenset({b"same-origin", b"none"})


class Browsers:
    """Checks the two headers by which a browser says where a request comes from and whom it is for.

    ``Host`` against DNS rebinding: a page of ``evil.example`` whose name is pointed at 127.0.0.1 afterwards is of the
    gateway's origin to the browser, but its requests still say ``Host: evil.example``. ``Origin`` against pages that
    call the gateway across origins: without it they could not read answers, but could send messages and, on a
    WebSocket, which knows no CORS, do everything. Clients that are no browsers send no ``Origin``.

    Args:
        allowed_hosts: Names beside the loopback ones.
        allowed_origins: Origins beside the gateway's own.
        is_loopback: Whether only this machine reaches the gateway.
    """

    def __init__(self, allowed_hosts: Iterable[str], allowed_origins: Iterable[str], *, is_loopback: bool) -> None:
        self._hosts = frozenset(name.lower() for name in allowed_hosts)
        self._origins = frozenset(origin.encode("latin-1") for origin in allowed_origins)
        self._is_any_host_good = not is_loopback and not self._hosts

    def check_host(self, host: bytes | None) -> None:
        """Do nothing where the gateway is known by this name.

        Raises:
            Refusal: 421, it is not.
        """
        if self._is_any_host_good:
            return
        name = host_name(host.decode("latin-1")) if host else ""
        if name not in self._hosts and not is_loopback_name(name):
            text = "this gateway has no such name; gateway.security.allowed_hosts lists those it has beside localhost"
            raise Refusal(421, "unknown_host", text, field="Host")

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Do nothing where no browser asks, or one for a page of the gateway or of an allowed origin.

        Raises:
            Refusal: 403, it asks for another page.
        """
        origin = headers.get(b"origin")
        if origin is None:
            # An image or a frame, which say no Origin: whoever reads cannot be told from whoever only fills streams.
            site = headers.get(b"sec-fetch-site")
            if site is None or site in _OWN_SITES or headers.get(b"sec-fetch-mode") == b"navigate":
                return
            raise _foreign()
        if origin in self._origins or _is_same(origin, headers.get(b"host", b"")):
            return
        raise _foreign()


def _foreign() -> Refusal:
    text = "a page of another site asks; gateway.security.allowed_origins lists the sites that may"
    return Refusal(403, "foreign_origin", text, field="Origin")


def host_name(host: str) -> str:
    """Return the name in a ``Host`` header, without its port, in lower case; IPv6 without brackets."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name.lower() if not rest or rest.startswith(":") else ""
    return host.partition(":")[0].lower().removesuffix(".")


def _is_same(origin: bytes, host: bytes) -> bool:
    """Whether an origin is that of a host; the scheme is not looked at: a proxy may end TLS."""
    scheme, found, place = origin.decode("latin-1").lower().partition("://")
    if not found or not place or scheme not in _DEFAULT_PORTS:
        return False
    port = ":" + _DEFAULT_PORTS[scheme]
    return place.removesuffix(port) == host.decode("latin-1").lower().removesuffix(port)


def network_of(address: str) -> str:
    """Return what stands for an address where callers are counted: of IPv6 the /64, which one subscriber has whole."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:  # noqa: PLR2004
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ip_address(int(parsed) >> 64 << 64)) + "/64"
    return address
