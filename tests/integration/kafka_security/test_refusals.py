"""What Kafka, or we, refuse is one clear line and an exit code, by either of a worker's clients; never a hang."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from barnabas.cli import main
from infra.certificates import make_certificates
from infra.security import ADMIN
from schemas.errors import AccessError
from streams.agent import Agent, Agents
from streams.options import MonitoringOptions
from streams.providers.echo import EchoProvider
from streams.worker import Worker
from streams.worker_options import WorkerOptions
from tests.integration.kafka_security.conftest import PARTITIONS, Secured, produce
from tests.support.processes import run_barnabas
from topics.acls import Component, Grant, grants
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames

#: What is wrong, and what the refusal says of it.
WRONG = {
    "password": "sasl.password",
    "authority": "ssl.ca.location",
    "host": "ssl.ca.location",
}


def _wrong(secured: Secured, what: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """The address and the settings of somebody who is wrong about one thing."""
    servers, config = secured.servers, secured.config("worker")
    if what == "password":
        config["sasl.password"] = "wr0ng-" + config["sasl.password"][:4]
    elif what == "authority":
        make_certificates(folder / "other.pem", folder / "unused.pem", ("127.0.0.1",))
        config["ssl.ca.location"] = str(folder / "other.pem")
    else:
        servers = servers.replace("127.0.0.1", "localhost")
    return servers, config


@pytest.mark.parametrize(("what", "named"), WRONG.items())
@pytest.mark.parametrize("command", [("topics",), ("send", "ada", "hello"), ("doctor",)])
def test_command_refused_connection_is_one_line(  # noqa: PLR0917 -- fixtures
    what: str,
    named: str,
    command: tuple[str, ...],
    secured: Secured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which setting to look at, and no password. Fails, after 15 or 30 s, without the reasons read in ``reach``."""
    servers, config = _wrong(secured, what, tmp_path)
    more = {"KAFKA_BOOTSTRAP_SERVERS": servers, "BARNABAS_KAFKA": json.dumps(config)}
    for name, value in secured.env("worker", tmp_path, **more).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(command)
    shown = capsys.readouterr()
    assert ended.value.code == (3 if command == ("doctor",) else 1)
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert config["sasl.password"] not in line


def test_worker_process_wrong_password_ends_with_one_line(secured: Secured, tmp_path: Path) -> None:
    """It waits for a broker that is away, but not for another password. Fails without the test for ``AccessError``."""
    _, config = _wrong(secured, "password", tmp_path)
    ended = run_barnabas("worker", env=secured.env("worker", tmp_path, BARNABAS_KAFKA=json.dumps(config)), cwd=tmp_path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "refused the credentials" in line
    assert config["sasl.password"] not in line


async def _run_worker(
    servers: str, config: dict[str, Any], folder: Path, names: TopicNames, partitions: int = PARTITIONS
) -> None:
    """Run a worker in this loop, past the first look at the topics, until it ends by itself."""
    agents = Agents({"assistant": Agent(name="assistant", model="echo", provider=EchoProvider())}, default="assistant")
    options = WorkerOptions(
        bootstrap_servers=servers,
        data_dir=folder,
        prefix=names.prefix,
        partitions=partitions,
        name="w1",
        client_config={"log_level": 0, **config},
        monitoring=MonitoringOptions(port=0),
    )
    await asyncio.wait_for(Worker(options, agents).run(), 90.0)


@pytest.mark.parametrize("what", WRONG)
async def test_consumer_group_refused_connection_ends_the_worker(what: str, secured: Secured, tmp_path: Path) -> None:
    """The group's client refuses, and is refused, as librdkafka is. Fails, by hanging, without ``_end_if_refused``."""
    servers, config = _wrong(secured, what, tmp_path)
    with pytest.raises(AccessError, match="consumer group refuse each other") as refused:
        await _run_worker(servers, config, tmp_path, secured.names)
    assert config["sasl.password"] not in str(refused.value)


def _less(given: tuple[Grant, ...], resource: str, operation: str) -> list[Grant]:
    """All grants but one operation on one resource."""
    found = []
    for grant in given:
        left = tuple(op for op in grant.operations if grant.name != resource or op != operation)
        found.append(Grant(grant.resource, grant.name, left))
    return [grant for grant in found if grant.operations]


@pytest.mark.parametrize(
    ("field", "operation"), [("events", "Write"), ("messages", "Read"), ("changelog", "Read"), ("group_id", "Read")]
)
async def test_worker_without_one_right_ends_and_names_it(
    field: str, operation: str, secured: Secured, tmp_path: Path
) -> None:
    """Producer, group and recovery each say what they may not. Each of the four hangs where its own report is out."""
    names = TopicNames(f"t-limited-{uuid.uuid4().hex[:8]}")
    resource = getattr(names, field)
    ensure_topics(secured.servers, catalog(names, 1), client_config=secured.config(ADMIN))
    produce(secured, ADMIN, names.changelog, b"ada", None, partition=0)  # recovery has something to read
    secured.grant("limited", _less(grants(Component.WORKER, names), resource, operation))
    try:
        with pytest.raises(AccessError, match="barnabas topics acls") as refused:
            await _run_worker(secured.servers, secured.config("limited"), tmp_path, names, 1)
        assert resource in str(refused.value)
    finally:
        secured.revoke("limited")
