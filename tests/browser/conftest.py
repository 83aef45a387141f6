"""One deployment, one gateway and one browser for the console's tests: each uses sessions of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, sync_playwright

from barnabas.gateway.security.api_key import new_key
from infra.ports import free_port
from tests.browser.chromium import MISSING, find
from tests.browser.console_page import ConsolePage
from tests.browser.script import SETTINGS, SHOP, script_json
from tests.support.patience import ANSWER_S
from tests.support.processes import BarnabasProcess, start_worker
from topics.names import TopicNames

PARTITIONS = 4

#: Of the gateway that asks for keys: rarer than the console waits where it is not told how often.
RARE_HEARTBEAT_S = 300.0

#: By name: the tenant and the scopes of a key.
HOLDERS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "reader": ("acme", ("sessions:read", "sessions:write")),
    "operator": (None, ("sessions:read", "operate")),
}

#: Without the network of its own that it would otherwise try, and as root in a container.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)


_USUAL = {"viewport": {"width": 1200, "height": 800}, "reduced_motion": "reduce"}


class Served:
    """A worker, and a gateway that can be killed and comes back at its address."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder
        self.names = TopicNames(f"t-browser-{uuid.uuid4().hex[:8]}")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "shop.py").write_text(SHOP)
        (folder / "barnabas.yaml").write_text(SETTINGS)
        (folder / "script.json").write_text(script_json())
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "BARNABAS_PREFIX": self.names.prefix,
            "BARNABAS_DATA_DIR": str(folder / "data"),
            "BARNABAS_MODEL": f"scripted:{folder / 'script.json'}",
            "BARNABAS_PARTITIONS": str(PARTITIONS),
        }
        self._processes: list[BarnabasProcess] = []

    def start(self) -> None:
        """Start both and wait until they are ready."""
        worker = start_worker(
            bootstrap_servers=self.kafka,
            prefix=self.names.prefix,
            data_dir=self.folder / "data",
            model=self.env["BARNABAS_MODEL"],
            partitions=PARTITIONS,
            log=self.folder / "worker.log",
        )
        self._processes.append(worker)
        worker.wait_ready()
        self.gateway = self.start_gateway()

    def start_gateway(self) -> BarnabasProcess:
        """Start a gateway at the usual address."""
        return self._start_gateway(self.folder, self.port)

    def start_asking_gateway(self, api_keys: dict[str, object]) -> str:
        """Start one that asks for keys, and return its address."""
        folder = self.folder / "asking"
        folder.mkdir()
        settings = {"gateway": {"heartbeat_s": RARE_HEARTBEAT_S, "security": {"api_keys": api_keys}}}
        (folder / "barnabas.yaml").write_text(SETTINGS + yaml.safe_dump(settings))
        (folder / "shop.py").write_text(SHOP)
        gateway = self._start_gateway(folder, 0)
        url: str = gateway.wait_ready()["gateway"]
        return url

    def _start_gateway(self, folder: Path, port: int) -> BarnabasProcess:
        arguments = ("gateway", "--json", "--port", str(port))
        gateway = BarnabasProcess(
            arguments, env=self.env, log=folder / "gateway.log", module="tests.support.gateway_main"
        )
        self._processes.append(gateway)
        gateway.wait_ready()
        return gateway

    def get(self, path: str, **query: object) -> Any:
        """Ask the gateway for JSON."""
        answer = httpx.get(self.url + path, params=query, timeout=ANSWER_S)  # type: ignore[arg-type]
        answer.raise_for_status()
        return answer.json()

    def send(self, session: str, text: str) -> None:
        """Send a message to a session by the gateway."""
        answer = httpx.post(f"{self.url}/sessions/{session}/messages", json={"text": text}, timeout=ANSWER_S)
        answer.raise_for_status()

    def open_gate(self, name: str) -> None:
        """Let the tool ``gate`` return."""
        (self.folder / f"{name}.open").touch()

    def kill_gateway(self) -> None:
        """SIGKILL, as a machine that is gone."""
        self.gateway.kill()

    def restart_gateway(self) -> None:
        """Have another one at the same address."""
        self.gateway = self.start_gateway()

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.close()


@pytest.fixture(scope="module")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a deployment that answers."""
    made = Served(kafka, tmp_path_factory.mktemp("browser"))
    try:
        made.start()
        yield made
    finally:
        made.close()


class Asking(NamedTuple):
    """A gateway that asks who one is, and the keys of ``HOLDERS``."""

    url: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def asking(served: Served) -> Asking:
    """Give one beside the other."""
    keys = {name: new_key(name) for name in HOLDERS}
    declared: dict[str, object] = {
        name: {"hash": keys[name].hash, "tenant": tenant, "scopes": list(scopes)}
        for name, (tenant, scopes) in HOLDERS.items()
    }
    return Asking(served.start_asking_gateway(declared), {name: key.key for name, key in keys.items()})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a headless Chromium. Its driver runs an event loop in this thread, so not for longer than the module."""
    path = find()
    if path is None:
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS])
        yield launched
        launched.close()


@pytest.fixture
def tab(browser: Browser, served: Served) -> Iterator[Callable[..., ConsolePage]]:
    """Give a function that opens a tab; at the end each has to have kept to the gateway and to the policy."""
    contexts, pages = [], []

    def make(url: str = "", **options: object) -> ConsolePage:
        context = browser.new_context(**{**_USUAL, **options})  # type: ignore[arg-type]
        contexts.append(context)
        pages.append(ConsolePage(context, url or served.url))
        return pages[-1]

    yield make
    for context in contexts:
        context.close()
    for page in pages:
        page.check()
