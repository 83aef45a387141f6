"""The endpoint's own thread and address."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from schemas.errors import SettingsError
from streams.monitoring.server import MonitoringServer
from tests.support.endpoint import Endpoint


@pytest.fixture
def server() -> Iterator[MonitoringServer]:
    """Give a server on a free port; it is alive and not ready."""
    registry = CollectorRegistry()
    Gauge("depth", "Measured.", registry=registry).set(7)
    made = MonitoringServer(
        "127.0.0.1",
        0,
        registry=registry,
        health=lambda: (True, {"problems": ()}),
        readiness=lambda: (False, {"problems": ("not yet",)}),
    )
    made.start()
    yield made
    made.close()


def test_answers_are_json_with_their_status(server: MonitoringServer) -> None:
    """200 and 503."""
    endpoint = Endpoint(server.url)
    assert endpoint.report("/healthz") == (200, {"problems": []})
    assert endpoint.report("/readyz") == (503, {"problems": ["not yet"]})
    assert endpoint.value("depth") == 7


def test_closed_server_listens_no_more(server: MonitoringServer) -> None:
    """At once, so that the next worker may have the port."""
    server.close()
    assert Endpoint(server.url).report("/healthz") == (0, {})
    port = int(server.url.rpartition(":")[2])
    MonitoringServer(
        "127.0.0.1", port, registry=CollectorRegistry(), health=lambda: (True, {}), readiness=lambda: (True, {})
    ).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_address_that_cannot_be_had_is_refused_with_the_field(server: MonitoringServer, host: str) -> None:
    """In one line: what, why, and what to do."""
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(SettingsError, match=rf"^monitoring.port: {host}:{port} cannot be listened on .* 0 for a free"):
        MonitoringServer(
            host, port, registry=CollectorRegistry(), health=lambda: (True, {}), readiness=lambda: (True, {})
        )
