"""A real worker's endpoint: what it shows of turns, partitions, memory and itself."""

import json
import uuid
from collections.abc import Iterator

import pytest

from streams.monitoring.catalog import CATALOG
from tests.support.deployment import Deployment
from tests.support.endpoint import Endpoint
from tests.support.processes import BarnabasProcess, start_worker
from topics.names import TopicNames

PARTITIONS = 2


class Running:
    """A worker that has answered three messages and put one aside."""

    def __init__(self, worker: BarnabasProcess) -> None:
        self.worker = worker
        self.ready = worker.wait_ready()
        self.endpoint = Endpoint(self.ready["metrics"].removesuffix("/metrics"))


@pytest.fixture(scope="module")
def running(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give the worker; it ends in order."""
    folder = tmp_path_factory.mktemp("monitored")
    names = TopicNames(f"t-{folder.name}-{uuid.uuid4().hex[:8]}")
    deployment = Deployment(kafka, names, folder, partitions=PARTITIONS)
    env = {"BARNABAS_LOG_FORMAT": "json", "BARNABAS_LOG_LEVEL": "debug"}
    with start_worker(
        bootstrap_servers=kafka, prefix=names.prefix, data_dir=folder, partitions=PARTITIONS, env=env
    ) as worker:
        found = Running(worker)
        for session, text in (("ada", "one two three"), ("ada", "four"), ("bob", "five")):
            deployment.publish(session, text)
        deployment.flush()
        deployment.wait_answered()
        deployment.produce(names.messages, b'{"text": "hello", "agent": "nobody"}', b"eve")
        deployment.flush()
        deployment.wait_committed()
        deployment.close()
        yield found
        assert worker.stop() == 0, worker.tail()


def test_metrics_are_the_catalog_s_and_those_of_the_process(running: Running) -> None:
    """What the reference lists is what there is, with that type and those labels."""
    families = running.endpoint.families()
    shown = {family.name for family in families if family.name.startswith("barnabas_")}
    assert shown == {spec.family().name for spec in CATALOG}
    kinds = {spec.family().name: spec.kind for spec in CATALOG}
    labels = {spec.family().name: set(spec.labels) for spec in CATALOG}
    for family in families:
        if family.name in kinds:
            assert family.type == kinds[family.name]
            assert {name for sample in family.samples for name in sample.labels} - {"le"} <= labels[family.name]
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds", "python_gc_collections"} <= {
        family.name for family in families
    }


def test_metrics_count_turns_tokens_and_dead_letters(running: Running) -> None:
    """Three turns of five words in all, and one message for an agent that nobody declared."""
    value = running.endpoint.value
    assert value("barnabas_turns_total", agent="assistant", outcome="completed") == 3
    assert value("barnabas_model_tokens_total", type="output") == 5
    assert value("barnabas_turn_duration_seconds_count", agent="assistant") == 3
    assert value("barnabas_time_to_first_token_seconds_count") == 3
    assert 3 <= value("barnabas_token_records_total") <= 5
    first, whole = (value(f"barnabas_{name}_seconds_sum") for name in ("time_to_first_token", "turn_duration"))
    assert 0 < first < whole
    assert value("barnabas_dead_letters_total", topic="messages", cause="unknown_agent") == 1


def test_metrics_show_where_partitions_stand(running: Running) -> None:
    """Everything is done, so there is no lag and nothing is old; the ends are those of the log."""
    value = running.endpoint.value
    assert value("barnabas_partitions", phase="open") == PARTITIONS
    assert value("barnabas_epochs_opened_total") == PARTITIONS
    assert value("barnabas_high_water", topic="messages") == 4
    assert value("barnabas_high_water", topic="events") == PARTITIONS + 3 * 2
    for name in (
        "lag_records",
        "backlog_records",
        "oldest_unfinished_seconds",
        "turns_in_flight",
        "turns_waiting",
        "lanes",
    ):
        assert value(f"barnabas_{name}") == 0, name
    assert value("barnabas_recoveries_total") == 1
    assert value("barnabas_recovery_partitions") == PARTITIONS
    assert value("barnabas_rocksdb_memory_bytes", use="memtables") > 0
    assert value("barnabas_event_loop_delay_seconds_count") > 0


def test_health_and_readiness_are_good_and_name_the_worker(running: Running) -> None:
    """In JSON, for people and probes."""
    worker = running.ready["worker"]
    assert running.endpoint.report("/healthz") == (200, {"status": "alive", "worker": worker, "problems": []})
    assert running.endpoint.report("/readyz") == (200, {"status": "ready", "worker": worker, "problems": []})
    assert running.endpoint.value("barnabas_healthy") == running.endpoint.value("barnabas_ready") == 1


def test_endpoint_refuses_other_paths_and_methods(running: Running) -> None:
    """It is read-only."""
    assert running.endpoint.get("/")[0] == 404
    assert running.endpoint.get("/healthz", method="POST")[0] == 405
    assert running.endpoint.get("/healthz", method="HEAD") == (200, b"")


def test_json_log_of_a_turn_names_session_turn_attempt_epoch_and_partition(running: Running) -> None:
    """Each line of the log is an object; a turn's lines can be found by any of them."""
    records = [json.loads(line) for line in running.worker.log.read_text().splitlines()]
    turns = [record for record in records if record["logger"] == "streams.turn"]
    assert sorted(record["session"] for record in turns) == ["ada", "ada", "bob"]
    for record in turns:
        assert record["turn"].startswith("t")
        assert {"message_id", "attempt", "epoch", "partition", "level", "timestamp", "message"} <= record.keys()
    assert not [record for record in records if record["logger"] != "streams.turn" and "turn" in record]
