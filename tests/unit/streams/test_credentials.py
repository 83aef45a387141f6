"""What is said once in librdkafka's words holds for the consumer group's client, or is refused."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization
from faust.auth import SASLCredentials, SSLCredentials

from infra.certificates import make_certificates
from schemas.errors import SettingsError
from streams.credentials import HONOURED, group_credentials, shows_no_credentials

SCRAM = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ada", "sasl.password": "s3cret"}


class Files:
    """An authority and a certificate for ``kafka.test`` and 10.1.2.3."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.ca, self.both = folder / "ca.pem", folder / "both.pem"
        make_certificates(self.ca, self.both, ("kafka.test", "10.1.2.3"))

    def locked_key(self, password: bytes) -> Path:
        """The key alone, behind a password."""
        key = serialization.load_pem_private_key(self.both.read_bytes(), None)
        path = self.both.with_name("locked.pem")
        encryption = serialization.BestAvailableEncryption(password)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Give certificates."""
    return Files(tmp_path_factory.mktemp("certificates") / "ours")


def handshake(context: ssl.SSLContext, files: Files, host: str, *, asks: bool = False) -> dict[str, Any] | None:
    """Have ``context`` shake hands with a server of these certificates; returns the client's certificate."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.both)
    if asks:
        server_context.load_verify_locations(files.ca)
        server_context.verify_mode = ssl.CERT_REQUIRED
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname=host)
    server = server_context.wrap_bio(up, down, server_side=True)
    done: set[int] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(id(side))
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            return server.getpeercert()
    raise AssertionError("no end of the handshake")


def context_of(kafka: dict[str, Any]) -> ssl.SSLContext:
    """The context of a TLS connection."""
    credentials = group_credentials({"security.protocol": "SSL", **kafka})
    assert isinstance(credentials, SSLCredentials)
    return credentials.context


def test_no_security_is_plain_text() -> None:
    """Settings that are not about security are not looked at."""
    assert group_credentials({}) is None
    assert group_credentials({"socket.timeout.ms": 5, "security.protocol": "plaintext"}) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_sasl_names_user_and_mechanism(mechanism: str, name: str) -> None:
    """Either spelling; over TLS with a context, else without. A repr holds no password."""
    said = {"sasl.username": "ada", "sasl.password": "s3cret", name: mechanism}
    plain = group_credentials({"security.protocol": "sasl_plaintext", **said})
    secured = group_credentials({"security.protocol": "SASL_SSL", **said})
    for credentials in (plain, secured):
        assert isinstance(credentials, SASLCredentials)
        assert (credentials.mechanism.value, credentials.username) == (mechanism, "ada")
        assert credentials.password == "s3cret"
        assert "s3cret" not in repr(credentials)
    assert isinstance(plain, SASLCredentials)
    assert isinstance(secured, SASLCredentials)
    assert (plain.protocol.value, plain.ssl_context) == ("SASL_PLAINTEXT", None)
    assert secured.protocol.value == "SASL_SSL"
    assert isinstance(secured.ssl_context, ssl.SSLContext)


def test_authority_is_trusted_and_no_other(files: Files, tmp_path: Path) -> None:
    """As a file or as text; another authority, or the system's, is not enough."""
    for said in ({"ssl.ca.location": str(files.ca)}, {"ssl.ca.pem": files.ca.read_text()}):
        handshake(context_of(said), files, "kafka.test")
        handshake(context_of(said), files, "10.1.2.3")
    other = Files(tmp_path / "other")
    for said in ({"ssl.ca.location": str(other.ca)}, {}, {"ssl.ca.location": "probe"}):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context_of(said), files, "kafka.test")


def test_host_name_has_to_match_unless_switched_off(files: Files) -> None:
    """``https`` is the default; ``none`` still looks at the authority; without verification nothing is looked at."""
    ca = {"ssl.ca.location": str(files.ca)}
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(context_of(ca), files, "other.test")
    handshake(context_of({**ca, "ssl.endpoint.identification.algorithm": "none"}), files, "other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context_of({"ssl.endpoint.identification.algorithm": "none"}), files, "other.test")
    handshake(context_of({"enable.ssl.certificate.verification": "false"}), files, "other.test")


def test_client_certificate_is_shown_with_a_locked_key(files: Files) -> None:
    """The key's password is used; a wrong one, or none, is refused instead of asked for at a terminal."""
    said = {
        "ssl.ca.location": str(files.ca),
        "ssl.certificate.location": str(files.both),
        "ssl.key.location": str(files.locked_key(b"hunter2")),
    }
    shown = handshake(context_of({**said, "ssl.key.password": "hunter2"}), files, "kafka.test", asks=True)
    assert shown
    for wrong in ({"ssl.key.password": "hunter3"}, {}):
        with pytest.raises(SettingsError, match=r"^ssl\.key\.location: not usable") as refused:
            context_of({**said, **wrong})
        assert "hunter3" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"security.protocol": "TLS"}, "security.protocol"),
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_SSL", **SCRAM, "sasl.mechanism": "OAUTHBEARER"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_SSL", **SCRAM, "sasl.mechanism": "GSSAPI"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_SSL", **SCRAM, "sasl.mechanisms": "PLAIN"}, "sasl.mechanisms"),
        ({"security.protocol": "SASL_SSL", **SCRAM, "sasl.username": ""}, "sasl.username"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "ada"}, "sasl.password"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere/ca.pem"}, "ssl.ca.location"),
        ({"security.protocol": "SSL", "ssl.ca.location": __file__}, "ssl.ca.location"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "no PEM"}, "ssl.ca.pem"),
        ({"security.protocol": "SSL", "ssl.key.location": __file__}, "ssl.certificate.location"),
        ({"security.protocol": "SSL", "ssl.certificate.location": "/nowhere"}, "ssl.certificate.location"),
        ({"security.protocol": "SSL", "ssl.cipher.suites": "NONE-SUCH"}, "ssl.cipher.suites"),
        (
            {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "ldaps"},
            "ssl.endpoint.identification.algorithm",
        ),
        (
            {"security.protocol": "SSL", "enable.ssl.certificate.verification": "maybe"},
            "enable.ssl.certificate.verification",
        ),
        ({"ssl.keystore.location": "/k.p12"}, "ssl.keystore.location"),
        ({"ssl.crl.location": "/crl.pem"}, "ssl.crl.location"),
        ({"sasl.oauthbearer.method": "oidc"}, "sasl.oauthbearer.method"),
        ({"sasl.kerberos.service.name": "kafka"}, "sasl.kerberos.service.name"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(said: dict[str, Any], name: str) -> None:
    """Before anything is connected; nothing is left out in silence, and no password is told."""
    with pytest.raises(SettingsError) as refused:
        group_credentials(said)
    assert str(refused.value).startswith(f"{name}: ")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("name", HONOURED)
def test_every_honoured_setting_is_one_of_librdkafka(name: str) -> None:
    """A name that librdkafka does not know would be refused before it got here."""
    with pytest.raises(KafkaException, match="No such configuration property"):
        AdminClient({f"{name}.not": "x", "log_level": 0})
    try:
        AdminClient({name: "x", "log_level": 0})
    except KafkaException as error:
        assert "No such configuration property" not in str(error)  # noqa: PT017 - or it takes the value


def test_debug_log_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """The client prints each request at debug level, PLAIN's with the password in it. Fails without the filter."""
    request = SaslAuthenticateRequest(b"\0ada\0s3cret").prepare({36: (0, 1)})
    assert "s3cret" in str(request)
    log = logging.getLogger("aiokafka.conn")
    log.addFilter(shows_no_credentials)
    try:
        with caplog.at_level(logging.DEBUG, "aiokafka.conn"):
            log.debug("Request to %s:%d %d: %s", "127.0.0.1", 9092, 3, request)
            log.debug("Request to %s:%d %d: %s", "127.0.0.1", 9092, 4, "another")
    finally:
        log.removeFilter(shows_no_credentials)
    assert [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)] == ["another"]
