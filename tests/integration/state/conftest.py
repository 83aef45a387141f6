from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.state.deployments import Deployment
from topics.names import TopicNames


@pytest.fixture
def deploy(kafka: str, topic_names: TopicNames, tmp_path: Path) -> Callable[..., Deployment]:
    """Give a function that makes this test's deployment, with one partition unless told otherwise."""
    return lambda partitions=1: Deployment(kafka, topic_names, tmp_path, partitions)


@pytest.fixture
def deployment(deploy: Callable[..., Deployment]) -> Deployment:
    """Give a deployment of one partition."""
    return deploy()
