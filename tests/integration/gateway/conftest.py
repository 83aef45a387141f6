"""A deployment with a scripted worker and a gateway, shared by this folder's tests: each uses sessions of its own."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from streams.providers.scripted import Behaviour, ScriptedError
from tests.support.deployment import SCRIPT, Deployment
from tests.support.gateway import GatewayProcess
from topics.names import TopicNames

_REPLIES = {
    "count *": Behaviour(reply="{prompts}"),
    "refuse *": Behaviour(error=ScriptedError(kind="refused", message="no such model")),
    "break *": Behaviour(reply="a b c d", error=ScriptedError(kind="refused", message="broke off", after_chunks=2)),
}

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a deployment whose worker is ready."""
    made = Deployment(kafka, TopicNames(f"t-gateway-{uuid.uuid4().hex[:8]}"), tmp_path_factory.mktemp("gateway"))
    made.start(script=msgspec.structs.replace(SCRIPT, replies={**SCRIPT.replies, **_REPLIES})).wait_ready()
    yield made
    made.close()


@pytest.fixture(scope="package")
def gateway(served: Deployment) -> Iterator[GatewayProcess]:
    """Give its gateway, which is ready."""
    with GatewayProcess(served) as made:
        made.wait_ready()
        yield made


@pytest.fixture
def session() -> str:
    """Give a session id that no other test has."""
    return f"s{next(_numbers)}-{uuid.uuid4().hex[:6]}"
