"""Fixtures of the tests that run whole deployments."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.faults import switch_off
from topics.names import TopicNames


@pytest.fixture
def deployment(kafka: str, topic_names: TopicNames, tmp_path: Path) -> Iterator[Deployment]:
    """Give a deployment of this test's own; its processes end with the test."""
    made = Deployment(kafka, topic_names, tmp_path)
    yield made
    made.close()


@pytest.fixture
def switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the mechanisms of ``BARNABAS_TEST_OFF`` away in this process; see ``tests/support/faults.py``."""
    import os

    switch_off(os.environ.get("BARNABAS_TEST_OFF", ""), monkeypatch.setattr)
