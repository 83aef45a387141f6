"""The embedded broker, started, stopped, killed and orphaned for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra import Broker, BrokerState, java, resolve_bootstrap_servers
from infra import jars as jars_module
from infra.jars import Jar, Pins
from infra.ports import HOST, free_port, is_free
from infra.process import ProcessId
from schemas.errors import BrokerError

BrokerFactory = Callable[..., Broker]


def write(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    """Write records and have each confirmed."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    if topic not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(20) == 0
    assert failures == []


def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    """Read the first ``count`` records."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid.uuid4().hex})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def test_start_fresh_directory_answers_with_its_own_cluster(private_broker: Broker) -> None:
    """A real metadata request, on the loopback address."""
    state = private_broker.status()
    assert state is not None
    metadata = AdminClient({"bootstrap.servers": state.bootstrap_servers}).list_topics(timeout=10)
    assert metadata.cluster_id == state.cluster_id
    assert [(broker.host, broker.port) for broker in metadata.brokers.values()] == [(HOST, state.port)]


def test_start_listens_on_the_loopback_address_only(private_broker: Broker) -> None:
    """No other machine reaches it: the wildcard address would show as zeros."""
    state = private_broker.status()
    assert state is not None
    listening = [
        line.split()[1].split(":")
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    ours = [address for address, port in listening if int(port, 16) in {state.port, state.controller_port}]
    assert len(ours) == 2
    assert all(address.endswith("0100007F") for address in ours)  # 127.0.0.1, in tcp6 behind ::ffff:


def test_start_unknown_topic_is_not_created_by_a_client(private_broker: Broker) -> None:
    """Topics are made by the admin, never by a typing error."""
    state = private_broker.status()
    assert state is not None
    was_refused: list[bool] = []
    producer = Producer({"bootstrap.servers": state.bootstrap_servers, "message.timeout.ms": 1000})
    producer.produce("typo", b"x", on_delivery=lambda error, _: was_refused.append(error is not None))
    assert producer.flush(10) == 0
    assert was_refused == [True]
    assert "typo" not in AdminClient({"bootstrap.servers": state.bootstrap_servers}).list_topics(timeout=10).topics


def test_start_twice_gives_the_running_broker(broker_factory: BrokerFactory) -> None:
    """From another object, as from another process; only the first one owns it."""
    first, second = broker_factory(), broker_factory()
    state = first.start()
    assert second.start() == state
    assert first.is_ours
    assert not second.is_ours


def test_stop_running_broker_ends_it_and_frees_the_port(private_broker: Broker) -> None:
    """Nothing of it is left, and a second stop finds nothing."""
    state = private_broker.status()
    assert state is not None
    assert private_broker.stop()
    assert not state.process.is_running()
    assert private_broker.status() is None
    assert is_free(state.port)
    assert not private_broker.stop()


def test_stop_by_another_object_ends_a_detached_broker(broker_factory: BrokerFactory) -> None:
    """``barnabas broker stop`` in another terminal."""
    state = broker_factory(stops_with_parent=False).start()
    assert broker_factory().stop()
    assert not state.process.is_running()


@pytest.mark.crash
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_start_again_log_is_intact_on_the_same_port(private_broker: Broker, how: str) -> None:
    """Every confirmed record, in order; the same cluster."""
    before = private_broker.status()
    assert before is not None
    values = [f"{number}".encode() for number in range(2000)]
    write(before.bootstrap_servers, "log", values)
    assert getattr(private_broker, how)()
    after = private_broker.start()
    assert (after.port, after.cluster_id) == (before.port, before.cluster_id)
    assert after.pid != before.pid
    assert read(after.bootstrap_servers, "log", 2000) == values
    write(after.bootstrap_servers, "log", [b"more"])
    assert read(after.bootstrap_servers, "log", 2001)[-1] == b"more"


@pytest.mark.crash
def test_status_after_a_crash_is_none(private_broker: Broker) -> None:
    """Killed by somebody else, behind the object's back."""
    state = private_broker.status()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    assert state.process.wait(10)
    assert private_broker.status() is None
    assert not private_broker.is_ours


def test_start_port_of_last_run_taken_chooses_another(broker_factory: BrokerFactory) -> None:
    """And the log is still there."""
    broker = broker_factory()
    before = broker.start()
    write(before.bootstrap_servers, "log", [b"1", b"2"])
    broker.stop()
    with socket.create_server((HOST, before.port)):
        after = broker.start()
        assert after.port != before.port
        assert read(after.bootstrap_servers, "log", 2) == [b"1", b"2"]


def test_start_two_directories_run_side_by_side(broker_factory: BrokerFactory) -> None:
    """At least one of them without the default port."""
    one, two = broker_factory("one").start(), broker_factory("two").start()
    assert len({one.port, one.controller_port, two.port, two.controller_port}) == 4
    assert one.cluster_id != two.cluster_id


def test_start_named_port_taken_is_refused(broker_factory: BrokerFactory) -> None:
    """A port that was asked for is not exchanged."""
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is taken"):
            broker_factory(port=port).start()


def test_start_stale_state_file_is_ignored(broker_factory: BrokerFactory, tmp_path: Path) -> None:
    """Its pid is in use again, by this very process: neither trusted nor stopped."""
    broker = broker_factory()
    port = free_port()
    stale = BrokerState(
        pid=os.getpid(),
        started="long ago",
        port=port,
        controller_port=free_port(),
        data_dir=tmp_path / "broker",
        cluster_id="x",
        kafka_version="4.0.0",
        stops_with_parent=False,
    )
    (tmp_path / "broker").mkdir()
    stale.write(tmp_path / "broker" / "broker.json")
    assert broker.status() is None
    assert not broker.stop()
    assert broker.start().port == port


ORPHAN = """
import json, sys, threading, time
from pathlib import Path
from infra import Broker

def start():
    state = Broker(Path(sys.argv[1]), stops_with_parent=sys.argv[2] == "True").start()
    print(json.dumps({"pid": state.pid, "started": state.started}), flush=True)

# In a thread that ends: the broker follows the process, not the thread.
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(60)
"""


@pytest.mark.crash
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_parent_dies_broker_follows(tmp_path: Path, signum: signal.Signals) -> None:
    """Whatever the parent died of, and whichever thread of it had started the broker."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "broker"), "True"], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        broker = ProcessId(**json.loads(parent.stdout.readline()))
        assert not broker.wait(1), "the broker ended with the thread that started it"
        parent.send_signal(signum)
        assert broker.wait(15)


@pytest.mark.crash
def test_parent_dies_detached_broker_stays(tmp_path: Path, broker_factory: BrokerFactory) -> None:
    """``barnabas broker start`` returns to the shell."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "broker"), "False"], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        broker = ProcessId(**json.loads(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        assert not broker.wait(2)
    assert broker_factory().stop()
    assert not broker.is_running()


def test_start_kafka_dies_shows_its_last_words(broker_factory: BrokerFactory, tmp_path: Path) -> None:
    """The data directory belongs to another cluster's node."""
    broker = broker_factory()
    broker.start()
    broker.stop()
    meta = tmp_path / "broker" / "kafka" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(BrokerError, match=r"(?s)did not start.*node"):
        broker.start()
    assert broker.status() is None


def test_start_no_java_says_so(broker_factory: BrokerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on the machine nor in a wheel."""
    monkeypatch.setattr(java, "_packaged_java", lambda: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrokerError, match="no Java 17"):
        broker_factory().start()


def test_start_no_jars_says_so(broker_factory: BrokerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and no way out of this machine."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{HOST}:{free_port()}")
    monkeypatch.setattr(jars_module, "_ATTEMPTS", 1)
    monkeypatch.setattr(jars_module, "pinned", lambda: Pins("9", (Jar("org.a:a:1", "0" * 64, 1),)))
    with pytest.raises(BrokerError, match=r"cannot fetch Kafka's a-1\.jar \(ProxyError.*KAFKA_BOOTSTRAP_SERVERS"):
        broker_factory(cache_dir=tmp_path / "cache").start()


def test_start_directory_cannot_be_made_says_so(broker_factory: BrokerFactory, tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"data directory .* cannot be made"):
        broker_factory("file/broker").start()


def test_resolve_bootstrap_servers_named_ones_bypass_the_broker(tmp_path: Path) -> None:
    """The settings' address, then the variable's; nothing is started."""
    variables = {"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2"}
    assert resolve_bootstrap_servers(tmp_path, environ=variables) == "a:1,b:2"
    assert resolve_bootstrap_servers(tmp_path, configured="c:3", environ=variables) == "c:3"
    assert resolve_bootstrap_servers(tmp_path, environ={}) is None
    assert list(tmp_path.iterdir()) == []


def test_resolve_bootstrap_servers_running_broker_is_found(private_broker: Broker) -> None:
    """Only while it runs."""
    state = private_broker.status()
    assert state is not None
    assert resolve_bootstrap_servers(state.data_dir, environ={}) == state.bootstrap_servers
    private_broker.stop()
    assert resolve_bootstrap_servers(state.data_dir, environ={}) is None
