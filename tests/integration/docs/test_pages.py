"""Every block of the README and of ``docs/`` that can be run is run, on a real Kafka."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.broker import Broker
from infra.ports import free_port
from tests.support.pages.page import Block, read_blocks
from tests.support.pages.page_run import PageRun
from tests.support.processes import ROOT, environment
from topics.names import TopicNames

#: What pages say where a reader's own address, topics or port would stand.
_ADDRESS, _METRICS_PORT, _GATEWAY_PORT, _TLS_PORT = "127.0.0.1:9092", "9464", "8080", "8443"
_SECURED_PORT = "9093"

#: A page that says this has a broker of its own.
_OWN_BROKER = "unset KAFKA_BOOTSTRAP_SERVERS"

PAGES = {
    path.relative_to(ROOT).as_posix(): read_blocks(path, ROOT)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
_AT_ONCE = 2
_RUNNABLE = {"python", "yaml", "sh", "console"}


@pytest.fixture(scope="session")
def model_endpoint() -> Iterator[str]:
    """Give the base URL of an OpenAI-compatible endpoint: pages name models that need a key."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.model_server", "--tokens", "12"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
        text=True,
    )
    assert server.stdout is not None
    yield json.loads(server.stdout.readline())["base_url"]
    server.terminate()
    server.wait(10)
    server.stdout.close()


def _can_run(blocks: list[Block]) -> bool:
    return any(block.language in _RUNNABLE and block.not_run is None for block in blocks)


@pytest.fixture(scope="session")
def runs(
    request: pytest.FixtureRequest, kafka: str, model_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """Run the pages that are asked for, some at once: a reader mostly waits."""
    pages = [item.callspec.params["page"] for item in request.session.items if "runs" in item.fixturenames]
    pages.sort(key=lambda page: -len(PAGES[page]))  # the longest first, so that none is left to run alone
    folders = {page: tmp_path_factory.mktemp("page") for page in pages}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {page: pool.submit(_run, page, kafka, model_endpoint, folders[page]) for page in pages}
        pool.shutdown(cancel_futures=True)


def _run(page: str, kafka: str, model_endpoint: str, folder: Path) -> None:
    usual, ours = TopicNames(), TopicNames(f"t-page-{uuid.uuid4().hex[:8]}")
    stand_ins = {
        **dict(zip(usual.all, ours.all, strict=True)),
        _ADDRESS: kafka,
        _METRICS_PORT: str(free_port()),
        _SECURED_PORT: str(free_port()),
        _GATEWAY_PORT: str(free_port()),
        _TLS_PORT: str(free_port()),
    }
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "BARNABAS_PREFIX": ours.prefix,
        "BARNABAS_DATA_DIR": str(folder / "data"),
        "BARNABAS_PARTITIONS": "4",
        "BARNABAS_MODEL": "echo",
        "BARNABAS_GATEWAY__PORT": stand_ins[_GATEWAY_PORT],
        "OPENAI_API_KEY": "sk-for-tests",
        "OPENAI_BASE_URL": model_endpoint,
    }
    if any(_OWN_BROKER in block.text for block in PAGES[page]):
        del env["KAFKA_BOOTSTRAP_SERVERS"]
    try:
        PageRun(folder, env, stand_ins).run(PAGES[page])
    finally:
        Broker(folder / "data" / "broker").stop()  # one that the page left running


@pytest.mark.timeout(900)  # the first one waits for others that run before it
@pytest.mark.parametrize("page", [page for page, blocks in PAGES.items() if _can_run(blocks)])
def test_page_does_what_it_says(page: str, runs: dict[str, Future[None]]) -> None:
    """From its first block to its last, in a fresh folder, with a deployment of its own."""
    runs[page].result()
