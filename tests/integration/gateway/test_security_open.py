"""A gateway on an open address: with TLS of its own, behind a proxy whose word is believed, loud about its openness."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.deployment import Deployment
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


@pytest.fixture(scope="module")
def opened(served: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Path]]:
    """Give a gateway that anybody reaches, and its certificate; the loopback address is its proxy's."""
    certificate, key = _certificate(tmp_path_factory.mktemp("tls"))
    security = {
        "allow_anonymous": True,
        "trusted_proxies": ["127.0.0.1/32"],
        "allowed_hosts": ["chat.example.com", "127.0.0.1"],
        "requests_per_s": 0.001,
        "burst": 2,
    }
    env = {
        "BARNABAS_GATEWAY__HOST": "0.0.0.0",
        "BARNABAS_GATEWAY__SECURITY": json.dumps(security),
        "BARNABAS_GATEWAY__TLS__CERTIFICATE": str(certificate),
        "BARNABAS_GATEWAY__TLS__KEY": str(key),
    }
    with GatewayProcess(served, env=env) as process:
        process.wait_ready()
        yield process, certificate


@pytest.fixture(scope="module")
def http(opened: tuple[GatewayProcess, Path]) -> Iterator[httpx.Client]:
    """Give a client that knows the certificate."""
    process, certificate = opened
    url = process.url.replace("0.0.0.0", "127.0.0.1")
    assert url.startswith("https://")
    known = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(base_url=url, verify=known, timeout=ANSWER_S) as client:
        yield client


def test_tls_is_its_own(http: httpx.Client, opened: tuple[GatewayProcess, Path]) -> None:
    """Who speaks no TLS gets no answer."""
    assert http.get("/healthz").json()["status"] == "alive"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{str(http.base_url).replace('https', 'http')}/healthz")


def test_openness_is_said_loudly(http: httpx.Client, opened: tuple[GatewayProcess, Path]) -> None:
    """In the log, at each start."""
    assert "ANYBODY who reaches 0.0.0.0 may read, write and erase every session" in opened[0].log.read_text()


def test_callers_are_told_apart_by_what_the_proxy_says(http: httpx.Client) -> None:
    """The last address that is not a proxy's counts; what its client had written before is not believed.

    Seen to fail without ``forwarded_allow_ips``: then all of them are one caller.
    """

    def asked_as(said: str) -> list[int]:
        return [http.get("/v1/models", headers={"X-Forwarded-For": said}).status_code for _ in range(3)]

    assert asked_as("203.0.113.1") == [200, 200, 429]
    assert asked_as("203.0.113.2") == [200, 200, 429]
    assert asked_as("198.51.100.9, 203.0.113.1") == [429, 429, 429]
    assert asked_as("2001:db8:1:1::1") == [200, 200, 429]
    assert asked_as("2001:db8:1:1:ffff::2") == [429, 429, 429]


def test_only_its_own_names_are_answered(http: httpx.Client) -> None:
    """Those of ``allowed_hosts``."""
    said = {"X-Forwarded-For": "203.0.113.77"}
    assert http.get("/v1/models", headers={**said, "Host": "chat.example.com"}).status_code == 200
    assert http.get("/v1/models", headers={**said, "Host": "evil.example"}).status_code == 421
