"""A whole deployment over TLS and SCRAM-SHA-512, each component a user with its own few rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from barnabas import Client
from barnabas.cli import main
from infra.security import ADMIN
from tests.integration.kafka_security.conftest import PARTITIONS, USERS, Rights, Secured, produce
from tests.support.processes import BarnabasProcess, start_worker
from topics.acls import IMPLY_DESCRIBE, grants
from topics.partitioner import partition_for

Run = Callable[..., str]


@pytest.fixture
def run(secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a function that runs a command as a user and returns what it said; it has to succeed."""

    def run_as(user: str, *arguments: str) -> str:
        for name, value in secured.env(user, tmp_path / "data").items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        shown = capsys.readouterr()
        assert ended.value.code in {0, None}, f"{user}: {shown.err}"
        assert secured.passwords[user] not in shown.out + shown.err
        return shown.out

    return run_as


def _worker(secured: Secured, folder: Path, name: str) -> BarnabasProcess:
    worker = start_worker(
        bootstrap_servers=secured.servers,
        prefix=secured.names.prefix,
        data_dir=folder / name,
        name=name,
        env=secured.env("worker", folder / name),
        arguments=("--debug",),  # the libraries' own logs: what they say of a password would be in them
    )
    worker.wait_ready()
    return worker


def _misplace(secured: Secured, topic: str, key: bytes, value: bytes) -> None:
    """Write a record to another partition than its key's, as a client with another partitioner does."""
    produce(secured, "client", topic, key, value, partition=(partition_for(key, PARTITIONS) + 1) % PARTITIONS)


def _client(secured: Secured, user: str, folder: Path) -> Client:
    return Client(
        bootstrap_servers=secured.servers,
        prefix=secured.names.prefix,
        data_dir=folder / user,
        kafka=secured.config(user),
    )


async def _publish_and_subscribe(secured: Secured, folder: Path) -> tuple[str, str]:
    """One client sends and may not read, another one reads and may not send."""
    async with _client(secured, "publisher", folder) as publisher:
        sent = await publisher.send("bob", "over the wall")
        await publisher.cancel(sent)
    async with _client(secured, "subscriber", folder) as subscriber:
        parts = [part async for part in subscriber.stream("bob", turn_id=sent.turn_id, after=sent.cursor)]
    return sent.message_id, parts[-1].outcome or ""


def _over_http(secured: Secured, folder: Path) -> str:
    """Hold a conversation through a gateway, and cancel another; returns the answer."""
    env = secured.env("gateway", folder / "gateway")
    with BarnabasProcess(
        ("gateway", "--port", "0", "--json", "--debug"), env=env, log=folder / "gateway.log"
    ) as gateway:
        url = gateway.wait_ready()["gateway"]
        body = {"model": "assistant", "messages": [{"role": "user", "content": "through the door"}]}
        answered = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60.0).raise_for_status()
        sent = httpx.post(f"{url}/sessions/gil/messages", json={"text": "x"}, timeout=60.0).raise_for_status().json()
        order = {"message_id": sent["message_id"]}
        httpx.post(f"{url}/sessions/gil/cancel", json=order, timeout=60.0).raise_for_status()
        for path in ("/sessions", "/sessions/ada", "/sessions/ada/events", "/sessions/ada/transcript", "/dead-letters"):
            httpx.get(url + path, timeout=60.0).raise_for_status()
        assert gateway.stop() == 0, gateway.tail()
    answer: str = answered.json()["choices"][0]["message"]["content"]
    return answer


def _needed(secured: Secured, user: str) -> Rights:
    """What the user was granted."""
    found: Rights = {}
    for component in USERS[user]:
        for grant in grants(component, secured.names):
            rights = found.setdefault((grant.resource, grant.name), set())
            rights |= {"DESCRIBE_CONFIGS" if op == "DescribeConfigs" else op.upper() for op in grant.operations}
    return _without_implied(found)


def _without_implied(rights: Rights) -> Rights:
    implying = {operation.upper() for operation in IMPLY_DESCRIBE}
    return {place: ops - {"DESCRIBE"} if ops & implying else ops for place, ops in rights.items()}


@pytest.mark.timeout(300)
def test_components_work_with_their_grants_and_use_every_one(secured: Secured, run: Run, tmp_path: Path) -> None:
    """Group, producers, recovery, admin, clients, fan-out, history, doctor, dead letters; then the broker's own log.

    The authorizer writes down each right that was used. A grant too few, and something here fails; one too many, and
    the two sets differ: take ``Read`` of ``control`` from the worker, or give the publisher ``Read`` of ``tokens``.
    """
    names = secured.names
    assert "made now" in run("topics", "topics")
    worker = _worker(secured, tmp_path, "first")
    try:
        assert "Hello over TLS" in run("client", "send", "ada", "Hello over TLS")
        _misplace(secured, names.messages, b"ada", b'{"text": "from elsewhere"}')
        _misplace(secured, names.control, b"ada", b'{"type": "cancel", "message_id": "none"}')
        _misplace(secured, names.control, b"ada", b'{"type": "cancel"}')
        _misplace(secured, names.messages, b"eve", b"no message")
        run("client", "send", "ada", "and again")
        worker.kill()
        worker.close()
        worker = _worker(secured, tmp_path, "second")  # with an empty directory
        assert "after the crash" in run("client", "send", "ada", "after the crash")
        shown = run("reader", "transcript", "ada")
        assert "Hello over TLS" in shown
        assert "after the crash" in shown
        message_id, outcome = asyncio.run(_publish_and_subscribe(secured, tmp_path))
        assert outcome in {"completed", "cancelled"}
        assert message_id in run("reader", "events", "--json")
        assert "ada" in run("reader", "sessions", "list")
        assert "over the wall" in run("subscriber", "tail", "--session", "bob", "--from-beginning", "--no-follow")
        assert "through the door" in _over_http(secured, tmp_path)
        letters = run("reader", "dead-letters", "list", "--json")
        assert "undecodable" in letters
        assert "no_target" in letters
        run("retrier", "events", "--session", "ada")
        run("retrier", "dead-letters", "retry", "--all", "--yes")
        assert worker.stop() == 0
        assert json.loads(run("doctor", "doctor", "--json").splitlines()[-1])["event"] == "audit"
        place = partition_for(b"ada", PARTITIONS)
        produce(secured, ADMIN, names.changelog, b"ada", None, partition=place)  # ada is lost
        rebuilt = json.loads(run("rebuilder", "doctor", "--rebuild", "--session", "ada", "--json").splitlines()[0])
        assert rebuilt["written"] == 1
    finally:
        worker.close()
    for user in USERS:
        if user != "limited":
            used = _without_implied(secured.decisions(user, "Allowed"))
            assert used == _needed(secured, user), user
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.log"))
    assert "Authenticated as worker via SCRAM-SHA-512" in logs  # the libraries have spoken
    assert not [user for user, password in secured.passwords.items() if password in logs]
