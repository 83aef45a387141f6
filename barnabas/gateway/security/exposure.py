"""Whether the gateway may listen where it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barnabas.settings import Settings


def is_loopback_name(name: str) -> bool:
    """Whether a host's name or address is only this machine's."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Do nothing where the gateway may listen.

    Raises:
        SettingsError: Others reach it, and nobody is asked who they are; the text says what to set.
    """
    gateway = settings.gateway
    address = gateway.host
    if is_loopback_name(address) or gateway.security.asks or gateway.security.allow_anonymous:
        return
    text = (
        f"{address} is reached from other machines, and nobody is asked who they are: set gateway.security.api_keys "
        "(barnabas keys new) or gateway.security.jwt, or let the gateway listen on 127.0.0.1"
    )
    raise settings.mistake(text, "gateway", "host")


def check_certificate(settings: Settings) -> None:
    """Do nothing where the gateway's certificate and key can be used, or there are none.

    Raises:
        SettingsError: They cannot.
    """
    tls = settings.gateway.tls
    if tls.certificate is None or tls.key is None:
        return
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        text = f"{tls.certificate} and {tls.key} are no certificate and its key ({error.strerror or error})"
        raise settings.mistake(text, "gateway", "tls", "certificate") from error


def warnings_of(settings: Settings) -> Iterator[str]:
    """Yield what an operator should know of where the gateway listens, a sentence each."""
    gateway = settings.gateway
    address = gateway.host
    if is_loopback_name(address):
        return
    if not gateway.security.asks:
        yield (
            f"ANYBODY who reaches {address} may read, write and erase every session without a tenant: "
            "gateway.security.allow_anonymous is set"
        )
    elif gateway.tls.certificate is None and not gateway.security.trusted_proxies:
        yield (
            f"credentials cross the network in the clear to {address}: set gateway.tls, or put a proxy that ends TLS "
            "in front and name it in gateway.security.trusted_proxies"
        )
