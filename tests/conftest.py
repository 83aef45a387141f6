"""What every test shares: a real Kafka, and a topic prefix of one's own.

``--kafka=embedded`` (default) starts one broker for the whole session, ``--kafka=docker`` one in a container,
``--kafka=HOST:PORT`` takes a running one. Nothing is skipped: where Kafka cannot be had, tests that ask for it fail.
"""

import re
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.broker import Broker
from infra.ports import free_port
from topics.names import TopicNames

# How long an example takes, and how long it takes to draw one, is the machine's affair.
hypothesis.settings.register_profile("barnabas", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("barnabas")

_DOCKER_IMAGE = "apache/kafka:4.1.2"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--kafka``."""
    parser.addoption(
        "--kafka",
        default="embedded",
        metavar="embedded|docker|HOST:PORT",
        help="the Kafka of the integration tests (default: embedded)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an impossible ``--kafka`` before the first test, and have what the tests start heed Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background job, and all that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    choice = config.getoption("kafka")
    if choice not in {"embedded", "docker"} and not re.fullmatch(r"[^\s,]+:\d+(,[^\s,]+:\d+)*", choice):
        raise pytest.UsageError(f"--kafka={choice}: say embedded, docker or HOST:PORT[,HOST:PORT]")


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the bootstrap servers of the session's Kafka."""
    choice = pytestconfig.getoption("kafka")
    if choice == "embedded":
        # Not the default port: another run on this machine may want it while a test restarts its broker.
        broker = Broker(tmp_path_factory.mktemp("kafka"), free_port(), stops_with_parent=True)
        state = broker.start()
        yield state.bootstrap_servers
        broker.stop()
    elif choice == "docker":
        yield from _kafka_in_docker()
    else:
        yield choice


def _kafka_in_docker() -> Iterator[str]:
    import docker
    from testcontainers.community.kafka import KafkaContainer

    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        pytest.fail(f"--kafka=docker: Docker does not answer ({error}); start it, or use --kafka=embedded")
    container = KafkaContainer(_DOCKER_IMAGE).with_kraft()
    container.with_env("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
    container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    with container:
        yield container.get_bootstrap_server()


@pytest.fixture
def broker_factory(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Give a function that makes brokers for tests that stop or kill them; what runs at the end is stopped.

    ``name`` (default ``broker``) is the data directory below the test's own; two brokers of one name share it.
    Further arguments are ``Broker``'s.
    """
    made: list[Broker] = []

    def make(name: str = "broker", **options: object) -> Broker:
        broker = Broker(tmp_path / name, **{"stops_with_parent": True, **options})  # type: ignore[arg-type]
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def private_broker(broker_factory: Callable[..., Broker]) -> Broker:
    """Give a running broker of this test's own, to be killed and started again on the same port."""
    broker = broker_factory(port=free_port())
    broker.start()
    return broker


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Give a topic prefix that no other test has, with the test's name in it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    return f"t-{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic_names(prefix: str) -> TopicNames:
    """Give the names of this test's topics."""
    return TopicNames(prefix)
