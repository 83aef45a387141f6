"""Every way to sign in, by both clients of a worker: librdkafka's and the consumer group's."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from barnabas.cli import main
from infra.security import ADMIN
from tests.integration.kafka_security.conftest import Secured
from tests.support.processes import BarnabasProcess
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames

SASL = ("PLAIN", "SCRAM-SHA-256")  # test_components.py is about SCRAM-SHA-512
WAYS = (*SASL, "certificate")


def _signed_in(secured: Secured, way: str) -> tuple[str, dict[str, Any]]:
    """Where the broker takes it, and the settings of a client."""
    if way == "certificate":
        return secured.certificate_servers, secured.certificate_config()
    return secured.servers, secured.config(ADMIN, sasl_mechanism=way)


def test_workers_and_commands_sign_in_by_every_way(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One worker each, in one group: ready is who has its share of the partitions, read and open. A command each."""
    names = TopicNames(f"t-signed-{uuid.uuid4().hex[:8]}")
    ensure_topics(secured.servers, catalog(names, len(WAYS)), client_config=secured.config(ADMIN))
    logs = {way: tmp_path / f"{way}.log" for way in WAYS}
    with ExitStack() as stack:
        workers = []
        for number, way in enumerate(WAYS):
            servers, config = _signed_in(secured, way)
            changed = {
                "KAFKA_BOOTSTRAP_SERVERS": servers,
                "BARNABAS_KAFKA": json.dumps(config),
                "BARNABAS_PREFIX": names.prefix,
                "BARNABAS_PARTITIONS": str(len(WAYS)),
            }
            env = secured.env(ADMIN, tmp_path / way, **changed)
            arguments = ("worker", "--json", "--debug", "--name", f"w{number}")
            worker = BarnabasProcess(arguments, env=env, log=logs[way])
            workers.append(stack.enter_context(worker))
        for worker in workers:
            worker.wait_ready()
        for way in WAYS:
            servers, config = _signed_in(secured, way)
            monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
            monkeypatch.setenv("BARNABAS_KAFKA", json.dumps(config))
            monkeypatch.setenv("BARNABAS_PREFIX", names.prefix)
            monkeypatch.setenv("BARNABAS_PARTITIONS", str(len(WAYS)))
            monkeypatch.setenv("BARNABAS_DATA_DIR", str(tmp_path / "client"))
            with pytest.raises(SystemExit) as ended:
                main(["send", f"by-{way}", f"hello by {way}"])
            shown = capsys.readouterr()
            assert ended.value.code in {0, None}, shown.err
            assert f"hello by {way}" in shown.out
    for way in SASL:
        assert f"via {way}" in logs[way].read_text()
    assert not [way for way in WAYS if secured.passwords[ADMIN] in logs[way].read_text()]
