"""Commands that run on: worker before its broker, broker, up."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.broker import Broker
from infra.broker_state import BrokerState
from infra.ports import free_port
from infra.process import ProcessId
from tests.support.endpoint import Endpoint
from tests.support.patience import CONDITION_S
from tests.support.processes import BarnabasProcess, run_barnabas, start_worker

_GONE_S = 40.0


def wait_gone(*processes: ProcessId | None) -> None:
    """Wait until none of them runs."""
    for process in processes:
        assert process is None or process.wait(_GONE_S), f"process {process} still runs"


def start_up(folder: Path, *arguments: str, **env: str) -> BarnabasProcess:
    """Start ``barnabas up --json``."""
    variables = {
        "BARNABAS_DATA_DIR": str(folder),
        "BARNABAS_MODEL": "echo",
        "BARNABAS_PARTITIONS": "2",
        "BARNABAS_GATEWAY__PORT": "0",
        **env,
    }
    return BarnabasProcess(("up", "--json", *arguments), env=variables, log=folder / "up.log")


def test_worker_waits_for_a_broker_that_comes_later(broker_factory: Callable[..., Broker], tmp_path: Path) -> None:
    """Started in any order; what it waits for is said."""
    port = free_port()
    with start_worker(bootstrap_servers=f"127.0.0.1:{port}", prefix="late", data_dir=tmp_path, partitions=1) as worker:
        deadline = time.monotonic() + CONDITION_S
        while "Trying again" not in worker.tail():
            assert worker.is_running, worker.tail()
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
        broker_factory(port=port).start()
        worker.wait_ready()
        assert worker.stop() == 0


def test_worker_sigterm_while_it_waits_is_exit_0(tmp_path: Path) -> None:
    """Nothing has begun, so nothing is finished."""
    with start_worker(bootstrap_servers="127.0.0.1:1", prefix="p", data_dir=tmp_path) as worker:
        deadline = time.monotonic() + CONDITION_S
        while "Trying again" not in worker.tail():
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.1)
        assert worker.stop() == 0


def test_broker_start_status_stop(tmp_path: Path) -> None:
    """It outlives the command that started it, and is found again."""
    env = {"BARNABAS_DATA_DIR": str(tmp_path)}
    try:
        ready = json.loads(run_barnabas("broker", "start", "--json", env=env, cwd=tmp_path, timeout_s=100).stdout)
        assert ready["event"] == "ready"
        status = json.loads(run_barnabas("broker", "status", "--json", env=env, cwd=tmp_path).stdout)
        assert (status["is_running"], status["bootstrap_servers"]) == (True, ready["bootstrap_servers"])
        again = json.loads(run_barnabas("broker", "start", "--json", env=env, cwd=tmp_path).stdout)
        assert (again["was_running"], again["pid"]) == (True, ready["pid"])
        process = ProcessId.of(ready["pid"])
        stopped = json.loads(run_barnabas("broker", "stop", "--json", env=env, cwd=tmp_path).stdout)
        assert stopped == {"event": "stopped", "data_dir": str(tmp_path / "broker"), "was_running": True}
        wait_gone(process)
    finally:
        Broker(tmp_path / "broker").stop()


def test_up_starts_everything_answers_and_stops_in_order(tmp_path: Path) -> None:
    """One line when ready; SIGTERM ends the worker first, then the broker; exit code 0."""
    with start_up(tmp_path) as up:
        ready = up.wait_ready()
        assert {"bootstrap_servers", "gateway", "metrics", "data_dir", "pids"} < ready.keys()
        (metrics,) = ready["metrics"]
        assert Endpoint(metrics.removesuffix("/metrics")).value("barnabas_partitions", phase="open") == 2
        assert Endpoint(ready["gateway"]).get("/readyz")[0] == 200
        pids = ready["pids"]
        processes = [ProcessId.of(pid) for pid in (pids["broker"], pids["gateway"], *pids["workers"])]
        env = {"BARNABAS_DATA_DIR": str(tmp_path), "BARNABAS_PARTITIONS": "2"}
        answer = run_barnabas("send", "ada", "hello there", env=env, cwd=tmp_path)
        assert (answer.returncode, answer.stdout) == (0, "hello there\n"), answer.stderr
        assert up.stop(60) == 0, up.tail()
    wait_gone(*processes)


def test_up_killed_takes_everything_with_it(tmp_path: Path) -> None:
    """Nothing is left behind by a SIGKILL."""
    port = free_port()
    with start_up(tmp_path, "--workers", "2", BARNABAS_MONITORING__PORT=str(port)) as up:
        ready = up.wait_ready()
        assert ready["metrics"] == [f"http://127.0.0.1:{number}/metrics" for number in (port, port + 1)]
        pids = ready["pids"]
        processes = [ProcessId.of(pid) for pid in (pids["broker"], pids["gateway"], *pids["workers"])]
        assert len(processes) == 4
        up.kill()
        wait_gone(*processes)


def test_up_on_a_named_kafka_starts_no_broker_and_restarts_a_killed_worker_and_gateway(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """Their places are taken by new ones: the worker's answers, the gateway's has its address."""
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "BARNABAS_PREFIX": prefix}
    with start_up(tmp_path, **env) as up:
        ready = up.wait_ready()
        assert (ready["bootstrap_servers"], ready["pids"]["broker"]) == (kafka, None)
        assert not (tmp_path / "broker").exists()
        for pid in (ready["pids"]["gateway"], ready["pids"]["workers"][0]):
            os.kill(pid, signal.SIGKILL)
        Endpoint(ready["gateway"]).wait("/readyz", 200)
        variables = {**env, "BARNABAS_DATA_DIR": str(tmp_path), "BARNABAS_PARTITIONS": "2"}
        answer = run_barnabas("send", "ada", "hello", env=variables, cwd=tmp_path, timeout_s=90)
        assert (answer.returncode, answer.stdout) == (0, "hello\n"), answer.stderr
        assert "starting it again" in up.tail()
        assert up.stop(60) == 0, up.tail()


def test_up_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """A file stands where the workers' data should be."""
    (tmp_path / "workers").write_text("")
    with start_up(tmp_path) as up:
        assert up.wait(90) == 1
        assert up.tail().splitlines()[-1].startswith("error: a worker did not start")
        state = BrokerState.read(tmp_path / "broker" / "broker.json")
        assert state is None or not state.process.is_running()


@pytest.mark.parametrize("command", ["tail", "send"])
def test_reading_commands_find_the_embedded_broker(command: str, tmp_path: Path) -> None:
    """They look into the data directory; here nothing runs."""
    arguments = ("send", "a", "b") if command == "send" else (command,)
    run = run_barnabas(*arguments, env={"BARNABAS_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "barnabas broker start" in run.stderr
