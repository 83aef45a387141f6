"""Fetching pinned jars, from a Maven repository served on this machine."""

import functools
import gc
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.jars import Jar, Pins, ensure_jars, pinned
from infra.ports import free_port
from schemas.errors import BrokerError

# jgo leaves the sockets of answers it does not read to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

CONTENT = {"org.a:one:1.0": b"first jar" * 5_000, "org.b:two:2.0": b"second jar" * 50}


class Repository:
    """A Maven repository that counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        for coordinate, content in CONTENT.items():
            self.put(root, coordinate, content)
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, root: Path, coordinate: str, content: bytes) -> None:
        """Publish a jar, with the checksum that Maven's clients expect beside it."""
        group, artifact, version = coordinate.split(":")
        folder = root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True, exist_ok=True)
        jar = folder / f"{artifact}-{version}.jar"
        jar.write_bytes(content)
        jar.with_suffix(".jar.sha1").write_text(hashlib.sha1(content).hexdigest())


@pytest.fixture(autouse=True)
def _collect_jgos_sockets() -> Iterator[None]:
    """Collect them here, where they are expected, and not in some later test."""
    yield
    gc.collect()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the repository's folder."""
    return tmp_path / "maven"


@pytest.fixture
def repository(root: Path) -> Iterator[Repository]:
    """Give a repository with the two jars of ``CONTENT``."""
    repository = Repository(root)
    thread = threading.Thread(target=repository.server.serve_forever, args=(0.01,))
    thread.start()
    yield repository
    repository.server.shutdown()
    thread.join()
    repository.server.server_close()


def pins() -> Pins:
    """Return right pins for ``CONTENT``."""
    return Pins("9.9", tuple(Jar(key, hashlib.sha256(value).hexdigest(), len(value)) for key, value in CONTENT.items()))


def test_ensure_jars_empty_cache_fetches_and_names_them(tmp_path: Path, repository: Repository) -> None:
    """In the order of the pins, whole, and nothing else left behind."""
    paths = ensure_jars(tmp_path / "cache", pins=pins(), repository=repository.url)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    left = {path.name for path in (tmp_path / "cache" / "kafka-9.9").iterdir()}
    assert left == {"one-1.0.jar", "two-2.0.jar", ".lock"}


def test_ensure_jars_full_cache_asks_nobody(tmp_path: Path, repository: Repository) -> None:
    """A second start works without a network."""
    ensure_jars(tmp_path, pins=pins(), repository=repository.url)
    repository.asked.clear()
    ensure_jars(tmp_path, pins=pins(), repository=f"http://127.0.0.1:{free_port()}")
    assert repository.asked == []


def test_ensure_jars_cut_jar_is_fetched_again(tmp_path: Path, repository: Repository) -> None:
    """A disk that was full, a copy that was cut off."""
    first, _ = ensure_jars(tmp_path, pins=pins(), repository=repository.url)
    first.write_bytes(b"cut")
    ensure_jars(tmp_path, pins=pins(), repository=repository.url)
    assert first.read_bytes() == CONTENT["org.a:one:1.0"]


def test_ensure_jars_many_at_once_fetch_each_jar_once(tmp_path: Path, repository: Repository) -> None:
    """Test sessions and workers start together."""
    with ThreadPoolExecutor(6) as pool:
        runs = list(
            pool.map(lambda _: ensure_jars(tmp_path, pins=pins(), repository=repository.url), range(6)),
        )
    assert len(set(runs)) == 1
    assert sum(path.endswith(".jar") for path in repository.asked) == 2


def test_ensure_jars_replaced_jar_is_refused_and_not_kept(tmp_path: Path, root: Path, repository: Repository) -> None:
    """The repository's own checksum fits, the pinned one does not."""
    repository.put(root, "org.b:two:2.0", b"SECOND jar" * 50)
    with pytest.raises(BrokerError, match=r"two-2\.0\.jar is not the file that was pinned"):
        ensure_jars(tmp_path, pins=pins(), repository=repository.url)
    assert not (tmp_path / "kafka-9.9" / "two-2.0.jar").exists()


def test_ensure_jars_unknown_jar_says_what_to_do(tmp_path: Path, repository: Repository) -> None:
    """The repository does not have it."""
    missing = Pins("9.9", (Jar("org.c:three:3.0", "0" * 64, 1),))
    with pytest.raises(BrokerError, match=r"cannot fetch Kafka's three-3\.0\.jar.*KAFKA_BOOTSTRAP_SERVERS"):
        ensure_jars(tmp_path, pins=missing, repository=repository.url)


def test_ensure_jars_no_network_says_what_to_do(tmp_path: Path) -> None:
    """Nobody listens there."""
    with pytest.raises(BrokerError, match=r"cannot fetch .*check the network connection"):
        ensure_jars(tmp_path, pins=pins(), repository=f"http://127.0.0.1:{free_port()}")


def test_pinned_names_the_clients_at_the_brokers_version() -> None:
    """Another version of the clients, and the broker dies with NoSuchMethodError."""
    shipped = pinned()
    coordinates = {jar.coordinate for jar in shipped.jars}
    assert f"org.apache.kafka:kafka_2.13:{shipped.kafka_version}" in coordinates
    assert f"org.apache.kafka:kafka-clients:{shipped.kafka_version}" in coordinates
    assert all(len(jar.sha256) == 64 for jar in shipped.jars)
    assert len({jar.filename for jar in shipped.jars}) == len(shipped.jars)
