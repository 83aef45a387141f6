"""Processes told apart by pid and start time; free ports."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.broker_state import BrokerState
from infra.ports import DEFAULT_PORT, free_port, is_free
from infra.process import ProcessId


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that does nothing for a minute."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_process_id_own_process_is_running() -> None:
    """This one."""
    process = ProcessId.of(os.getpid())
    assert process is not None
    assert process.is_running()


def test_process_id_ended_but_not_reaped_is_not_running(sleeper: subprocess.Popen[bytes]) -> None:
    """A zombie still has its pid."""
    process = ProcessId.of(sleeper.pid)
    assert process is not None
    sleeper.kill()
    assert process.wait(60)
    assert not process.is_running()


def test_process_id_same_pid_other_start_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    """A pid that was used again is left alone."""
    forged = ProcessId(sleeper.pid, "1@long-ago")
    assert not forged.is_running()
    forged.send(signal.SIGKILL)
    assert sleeper.poll() is None


def test_is_free_a_listener_there_is_false() -> None:
    """Until it closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_free_port_lies_below_the_ephemeral_range() -> None:
    """Or a client calling a dead broker's port may connect to itself."""
    ports = {free_port() for _ in range(20)}
    assert all(DEFAULT_PORT < port < 32_768 for port in ports)
    assert len(ports) > 1


def test_broker_state_written_reads_back(tmp_path: Path) -> None:
    """From another process, later."""
    state = BrokerState(
        pid=7,
        started="x",
        port=9092,
        controller_port=9093,
        data_dir=tmp_path,
        cluster_id="c",
        kafka_version="4",
        stops_with_parent=False,
    )
    state.write(tmp_path / "broker.json")
    assert BrokerState.read(tmp_path / "broker.json") == state
    assert state.bootstrap_servers == "127.0.0.1:9092"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "null"])
def test_broker_state_file_unusable_is_none(tmp_path: Path, content: str) -> None:
    """A file cut off by a crash must not stop the next start."""
    path = tmp_path / "broker.json"
    path.write_text(content)
    assert BrokerState.read(path) is None
    assert BrokerState.read(tmp_path / "missing.json") is None
