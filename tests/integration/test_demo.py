"""The demo, as `make demo` runs it: a real broker, the built-in real model."""

import os
from pathlib import Path

import pytest

from tests.support.processes import BarnabasProcess, run_barnabas


def leftovers() -> list[str]:
    """Return what runs with a demo's folder in its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "barnabas-demo-" in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


@pytest.mark.model
@pytest.mark.timeout(240)
def test_demo_real_model_shows_tokens_memory_and_log_and_leaves_nothing(tmp_path: Path) -> None:
    """What the small model says is its own affair; what it was asked is ours."""
    env = {"TMPDIR": str(tmp_path), "BARNABAS_PARTITIONS": "99", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    run = run_barnabas("demo", env=env, cwd=tmp_path, timeout_s=220)
    assert run.returncode == 0, run.stderr + run.stdout
    assert run.stdout.count("first token") == 2
    memory, _, log = run.stdout.partition("rebuilt from the log")[2].partition("4. The session's partition")
    assert [line.split()[0] for line in memory.strip().splitlines()[:4]] == ["system", "user", "assistant", "user"]
    assert "My name is Ada" in memory
    assert "What is my name" in memory
    assert log.count("TurnStarted") == log.count("TurnCompleted") == 2
    assert "model=local" in log
    assert "All stopped" in run.stdout
    assert not list(tmp_path.glob("barnabas-demo-*"))
    assert not leftovers()


def test_demo_stopped_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM while it runs: broker and worker end with it, the folder goes."""
    with BarnabasProcess(
        ("demo", "--model", "echo:400@0.05"), env={"TMPDIR": str(tmp_path)}, log=tmp_path / "demo.log"
    ) as demo:
        for _ in range(1200):
            if any("ada  " in line for line in demo.lines) or not demo.is_running:
                break
            demo._reader.join(0.05)
        assert demo.stop(60) == 130, demo.tail()
    assert not list(tmp_path.glob("barnabas-demo-*"))
    assert not leftovers()
