"""The command line without a broker: help, its cost, and errors in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from barnabas.cli import _hoisted
from tests.support.processes import environment, run_barnabas

COMMANDS = ("up", "worker", "demo", "send", "cancel", "tail", "events", "doctor", "topics", "version", "broker")
_HEAVY = ("faust", "aiokafka", "confluent_kafka", "pydantic", "rocksdict", "fastavro", "yaml", "rich", "msgspec")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """150 ms is the budget; Faust alone costs 600."""
    code = (
        "import sys\nfrom barnabas.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('heavy:', [name for name in {_HEAVY} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=True
    )
    assert run.stdout.endswith("heavy: []\n")
    assert all(f"  {name} " in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "broker start", "broker stop", "broker status"])
def test_help_of_each_command_has_an_example(command: str, tmp_path: Path) -> None:
    """A command is learnt from its example."""
    run = run_barnabas(*command.split(), "--help", cwd=tmp_path)
    assert run.returncode == 0
    assert command == "broker" or f"Example: {'barnabas ' + command if command != 'worker' else 'KAFKA_'}" in run.stdout


@pytest.mark.parametrize("command", ["worker", "up", "broker status", "tail", "events", "send a b", "doctor", "topics"])
def test_wrong_setting_is_one_line_and_exit_code_1(command: str, tmp_path: Path) -> None:
    """Every command refuses it before it does anything, and no trace is shown."""
    run = run_barnabas(*command.split(), env={"BARNABAS_PARTITIONS": "none"}, cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("error: partitions: ")


def test_error_with_json_is_a_record_as_well(tmp_path: Path) -> None:
    """Scripts read the code, people the line."""
    run = run_barnabas("worker", "--json", env={"BARNABAS_MODEL": "nonsense"}, cwd=tmp_path)
    assert run.returncode == 1
    record = json.loads(run.stdout)
    assert (record["event"], record["code"]) == ("error", "settings")
    assert run.stderr == f"error: {record['message']}\n"


def test_error_with_debug_shows_the_trace(tmp_path: Path) -> None:
    """Where the line is not enough; the option may stand last."""
    run = run_barnabas("worker", "--debug", env={"BARNABAS_MODEL": "nonsense"}, cwd=tmp_path)
    assert run.returncode == 1
    assert "Traceback" in run.stderr


def test_no_kafka_anywhere_says_what_to_do(tmp_path: Path) -> None:
    """Neither an address nor an embedded broker."""
    run = run_barnabas("send", "ada", "hi", env={"BARNABAS_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    assert run.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS" in run.stderr
    assert "barnabas broker start" in run.stderr


def test_broker_status_nothing_runs_is_exit_code_1(tmp_path: Path) -> None:
    """For scripts that wait for it."""
    run = run_barnabas("broker", "status", "--json", env={"BARNABAS_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    assert run.returncode == 1
    assert json.loads(run.stdout)["is_running"] is False


def test_config_option_names_the_file(tmp_path: Path) -> None:
    """As BARNABAS_CONFIG does."""
    (tmp_path / "mine.yaml").write_text("prefx: a\n")
    run = run_barnabas("topics", "--config", "mine.yaml", cwd=tmp_path)
    assert "mine.yaml:1" in run.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["send", "a", "b", "--debug"], ["--debug", "send", "a", "b"]),
        (["tail", "--config", "x", "--json"], ["--config", "x", "tail", "--json"]),
        (["tail", "--config=x"], ["--config=x", "tail"]),
        (["send", "a", "--", "--debug"], ["send", "a", "--", "--debug"]),
    ],
)
def test_global_options_may_stand_behind_the_command(words: list[str], expected: list[str]) -> None:
    """People write them last; nothing behind -- is an option."""
    assert _hoisted(words) == expected
