from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.state.deployments import Deployment
from topics.names import TopicNames


@pytest.fixture
def deploy(kafka: str, topic_names: TopicNames, tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Give a function that makes this test's deployment, with one partition unless told otherwise."""
    made: list[Deployment] = []

    def make(partitions: int = 1) -> Deployment:
        made.append(Deployment(kafka, topic_names, tmp_path, partitions))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def deployment(deploy: Callable[..., Deployment]) -> Deployment:
    """Give a deployment of one partition."""
    return deploy()
