"""A deployment with a scripted worker and a gateway, shared by this folder's tests: each uses sessions of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.processes import BarnabasProcess
from topics.names import TopicNames

#: Short, so that a sign of life is soon seen.
HEARTBEAT_S = 0.3


class GatewayProcess(BarnabasProcess):
    """``barnabas gateway`` over a deployment.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, deployment: Deployment, log: Path, **options: object) -> None:
        given = {"port": 0, "heartbeat_s": HEARTBEAT_S, **options}
        super().__init__(
            ("gateway", "--json"),
            env={
                "KAFKA_BOOTSTRAP_SERVERS": deployment.bootstrap_servers,
                "BARNABAS_PREFIX": deployment.names.prefix,
                "BARNABAS_DATA_DIR": str(deployment.folder / "gateway"),
                "BARNABAS_TEST_OFF": os.environ.get("BARNABAS_TEST_OFF"),
                **{f"BARNABAS_GATEWAY__{name.upper()}": str(value) for name, value in given.items()},
            },
            log=log,
            module="tests.support.gateway_main",
        )
        self.url = ""

    def stream(self, session: str, query: str = "") -> str:
        """The address of a session's stream."""
        return f"{self.url}/sessions/{session}/stream{query}"

    def websocket(self, session: str, query: str = "") -> str:
        """The address of a session's WebSocket."""
        return f"{self.url}/sessions/{session}/ws{query}".replace("http", "ws", 1)


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture(scope="package")
def start_gateway() -> Iterator[StartGateway]:
    """Give a function that starts a gateway over a deployment; what runs at the end is killed."""
    started: list[GatewayProcess] = []

    def start(deployment: Deployment, **options: object) -> GatewayProcess:
        made = GatewayProcess(deployment, deployment.folder / f"gateway-{len(started)}.log", **options)
        started.append(made)
        made.url = made.wait_ready()["gateway"]
        return made

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="package")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a deployment whose worker is ready."""
    names = TopicNames(f"t-streams-{uuid.uuid4().hex[:8]}")
    made = Deployment(kafka, names, tmp_path_factory.mktemp("streams"))
    made.start().wait_ready()
    yield made
    made.close()


@pytest.fixture(scope="package")
def gateway(served: Deployment, start_gateway: StartGateway) -> GatewayProcess:
    """Give a gateway over it."""
    return start_gateway(served)


@pytest.fixture
def session() -> str:
    """Give a session that no other test has."""
    return f"s-{uuid.uuid4().hex[:8]}"
