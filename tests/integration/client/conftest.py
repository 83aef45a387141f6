"""One deployment with a scripted worker, shared by this folder's tests: each uses sessions of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from barnabas import Client
from tests.support.deployment import Deployment
from tests.support.faults import switch_off
from topics.names import TopicNames


@pytest.fixture(scope="package")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a deployment whose worker is ready."""
    names = TopicNames(f"t-client-{uuid.uuid4().hex[:8]}")
    made = Deployment(kafka, names, tmp_path_factory.mktemp("client"))
    made.start().wait_ready()
    yield made
    made.close()


@pytest.fixture
def switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the mechanisms of ``BARNABAS_TEST_OFF`` away in this process; a client would refuse the variable."""
    names = os.environ.get("BARNABAS_TEST_OFF", "")
    monkeypatch.delenv("BARNABAS_TEST_OFF", raising=False)
    switch_off(names, monkeypatch.setattr)


@pytest.fixture
async def client(served: Deployment) -> AsyncIterator[Client]:
    """Give an open client of it."""
    async with client_of(served) as opened:
        yield opened


def client_of(deployment: Deployment) -> Client:
    """Make a client."""
    return Client(
        bootstrap_servers=deployment.bootstrap_servers,
        prefix=deployment.names.prefix,
        data_dir=deployment.folder / "client",
        kafka={"reconnect.backoff.max.ms": 200},
    )
