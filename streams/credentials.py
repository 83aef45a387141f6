"""librdkafka's security settings, as the consumer group's client takes them.

A worker has two Kafka clients: librdkafka, which takes ``kafka:`` as it stands, and aiokafka, which runs the consumer
group. Both have to sign in as the same user and to trust the same brokers, so what is said once, in librdkafka's
words, is translated here; what cannot be honoured is refused, never left out.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from schemas.errors import SettingsError

#: What begins like these is about security, and has to be one of :data:`HONOURED`.
_PREFIXES: Final = ("security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.", "https.")

#: Settings that the consumer group honours.
HONOURED: Final = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
)

#: How the consumer group can sign in.
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

#: librdkafka's word for looking for the system's certificates, which is what an absent one means to both.
_PROBE: Final = "probe"
_TRUE: Final = ("true", "t", "1")
_FALSE: Final = ("false", "f", "0")


def group_credentials(kafka: Mapping[str, Any]) -> CredentialsT | None:
    """Return how the consumer group connects; None for plain text without a user. Certificates are read now.

    Args:
        kafka: Settings by librdkafka's names; those that are not about security are not looked at.

    Raises:
        SettingsError: A setting that the consumer group cannot honour, or a file that cannot be used; the text begins
            with the setting's name.
    """
    for name in kafka:
        if name.startswith(_PREFIXES) and name not in HONOURED:
            _refuse(name, f"a worker's consumer group cannot honour it; it knows {', '.join(HONOURED)}")
    protocol = str(kafka.get("security.protocol", "plaintext")).upper()
    if protocol not in _PROTOCOLS:
        _refuse("security.protocol", f"{protocol!r} is none of {', '.join(_PROTOCOLS)}")
    context = _ssl_context(kafka) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        mechanism, username, password = _sasl(kafka)
        return SASLCredentials(username=username, password=password, mechanism=mechanism, ssl_context=context)
    return SSLCredentials(context) if context is not None else None


def shows_no_credentials(record: logging.LogRecord) -> bool:
    """Whether a line of aiokafka's debug log may be written: it prints requests, and one kind holds the password."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not any(type(argument).__name__.startswith("SaslAuthenticate") for argument in arguments)


def _sasl(kafka: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return mechanism, user and password."""
    named = [name for name in ("sasl.mechanism", "sasl.mechanisms") if name in kafka]
    if not named:
        _refuse("sasl.mechanism", f"is missing; choose one of {', '.join(MECHANISMS)}")
    mechanism = str(kafka[named[0]])
    if mechanism != str(kafka[named[-1]]):
        _refuse("sasl.mechanisms", "is the same setting as sasl.mechanism, with another value; leave one of them out")
    if mechanism not in MECHANISMS:
        _refuse(named[0], f"a worker's consumer group does not speak {mechanism!r}; it has {', '.join(MECHANISMS)}")
    for name in ("sasl.username", "sasl.password"):
        if not kafka.get(name):
            _refuse(name, f"is missing; {mechanism} needs it")
    return mechanism, str(kafka["sasl.username"]), str(kafka["sasl.password"])


def _ssl_context(kafka: Mapping[str, Any]) -> ssl.SSLContext:
    context = _trusting(kafka)
    algorithm = str(kafka.get("ssl.endpoint.identification.algorithm", "https")).lower()
    if algorithm not in {"https", "none"}:
        _refuse("ssl.endpoint.identification.algorithm", f"{algorithm!r} is none of https, none")
    context.check_hostname = algorithm == "https"
    if not _is_true(kafka, "enable.ssl.certificate.verification", default=True):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if ciphers := kafka.get("ssl.cipher.suites"):
        try:
            context.set_ciphers(str(ciphers))
        except ssl.SSLError as error:
            _refuse("ssl.cipher.suites", str(error))
    certificate, key = kafka.get("ssl.certificate.location"), kafka.get("ssl.key.location")
    if certificate is not None:
        _check_readable("ssl.certificate.location", certificate)
        _check_readable("ssl.key.location", key or certificate)
        try:
            # A password in any case: OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate, key, str(kafka.get("ssl.key.password", "")))
        except (ssl.SSLError, ValueError) as error:
            _refuse("ssl.key.location", f"not usable with the certificate and ssl.key.password ({_reason(error)})")
    elif key is not None:
        _refuse("ssl.certificate.location", "is missing; ssl.key.location is of no use without it")
    return context


def _trusting(kafka: Mapping[str, Any]) -> ssl.SSLContext:
    """Return a context that trusts what the settings name, else the system's certificates."""
    location, pem = kafka.get("ssl.ca.location", _PROBE), kafka.get("ssl.ca.pem")
    if location == _PROBE:
        location = None
    if location is not None:
        _check_readable("ssl.ca.location", location)
    is_folder = location is not None and Path(location).is_dir()
    try:
        return ssl.create_default_context(
            cafile=None if is_folder else location, capath=location if is_folder else None, cadata=pem
        )
    except (ssl.SSLError, ValueError) as error:
        _refuse("ssl.ca.pem" if pem is not None else "ssl.ca.location", f"holds no certificate ({_reason(error)})")


def _is_true(kafka: Mapping[str, Any], name: str, *, default: bool) -> bool:
    text = str(kafka.get(name, default)).lower()
    if text not in {*_TRUE, *_FALSE}:
        _refuse(name, f"{text!r} is none of true, false")
    return text in _TRUE


def _check_readable(name: str, path: str) -> None:
    try:
        if not Path(path).is_dir():
            Path(path).open("rb").close()
    except OSError as error:
        _refuse(name, f"{path} cannot be read: {error.strerror}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _refuse(name: str, text: str) -> NoReturn:
    raise SettingsError(f"{name}: {text}")
