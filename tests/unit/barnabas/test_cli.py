"""The command line without a broker: help, its cost, and errors in one line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from barnabas.cli import _hoisted, app, main
from tests.support.processes import environment, run_barnabas

Run = Callable[..., tuple[int, str, str]]

_HEAVY = (
    "faust",
    "aiokafka",
    "confluent_kafka",
    "pydantic",
    "rocksdict",
    "fastavro",
    "yaml",
    "rich",
    "msgspec",
    "asyncio",
)

#: CPU of ``--help``, best of several: what was promised, and room for a machine that is slow or busy.
_HELP_S, _ROOM = 0.150, 2.0


def _commands(group: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield above, group
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, *above, name)


#: Every command and group there is, by its words.
COMMANDS = dict(_commands(typer.main.get_command(app)))
SINGLE = [words for words, command in COMMANDS.items() if not hasattr(command, "commands")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Give a function that runs the command line in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("BARNABAS_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BARNABAS_DATA_DIR", str(tmp_path))

    def main_with(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        shown = capsys.readouterr()
        return int(str(ended.value.code)), shown.out, shown.err

    return main_with


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
    assert all(f"  {words[0]} " in run.stdout for words in COMMANDS if len(words) == 1)


def test_help_starts_at_once(tmp_path: Path) -> None:
    """A shell's completion and a person's patience: processor time of the whole process, the interpreter's included."""

    def cpu_s() -> float:
        before = os.times()
        assert run_barnabas("--help", cwd=tmp_path).returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(cpu_s() for _ in range(5)) < _HELP_S * _ROOM


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command_has_an_example(words: tuple[str, ...], run: Run) -> None:
    """A command is learnt from its example, a group and the whole from one of its commands."""
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert re.search(rf"Examples?: ([A-Z_]+=\S+ )*{' '.join(('barnabas', *words))}", " ".join(out.split()))


@pytest.mark.parametrize("words", SINGLE, ids=" ".join)
def test_each_command_speaks_json(words: tuple[str, ...], run: Run) -> None:
    """No script has to read what is for people."""
    assert "--json" in run(*words, "--help")[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["send"], "error: Missing argument 'session'; see: barnabas send --help\n"),
        (["sessions", "list", "--limit", "no"], "error: Invalid value for '--limit': "),
        (["nothing"], "error: No such command 'nothing'; see: barnabas --help\n"),
        (["tail", "--after", "1:2:3", "--from-beginning"], "error: Invalid value: say either --after or"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: list[str], expected: str, run: Run) -> None:
    """As every other error; and a record where JSON is asked for."""
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(expected)
    code, out, err = run(*words, "--json")
    record = json.loads(out)
    assert (code, record["event"], record["code"]) == (2, "error", "usage")
    assert err == f"error: {record['message']}\n"


@pytest.mark.parametrize("words", [("9", "-1h"), ("-1.5d", "-0s", "--json"), ("--", "-15m", "-0s")])
def test_times_ago_are_arguments_of_diff(words: tuple[str, ...], run: Run) -> None:
    """``-1h`` is no request for help. Mutant: the command's own class left out."""
    code, _, err = run("sessions", "diff", *(("ada", *words) if words[0] != "--" else ("--", "ada", *words[1:])))
    assert code == 1
    assert err.startswith("error: no Kafka")


def test_group_without_a_command_shows_its_help(run: Run) -> None:
    """Which commands there are is the answer to that."""
    code, _, err = run("sessions")
    assert code == 2
    assert err.startswith("Usage: barnabas sessions")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_erase_without_a_terminal_has_to_be_told_yes(options: tuple[str, ...], run: Run) -> None:
    """Nothing is erased because a script forgot to ask; without --yes it does not even look for Kafka."""
    code, _, err = run("erase", "ada", *options)
    assert code == 1
    assert err.endswith("say --yes\n")
    assert "no Kafka" in run("erase", "ada", "--yes", *options)[2]


def test_doctor_that_cannot_check_is_exit_code_3(run: Run) -> None:
    """1 is what differs; the next command has its own again."""
    code, _, err = run("doctor")
    assert code == 3
    assert err.startswith("error: no Kafka")
    assert run("topics")[0] == 1


def test_metrics_are_there_after_an_import_of_the_package_alone(tmp_path: Path) -> None:
    """As a tool's module uses them; in a process where nothing else has loaded them."""
    code = "import barnabas; barnabas.metrics.counter('lookups_total', 'Lookups.').inc(); print('counted')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False
    )
    assert (done.stdout, done.stderr) == ("counted\n", "")


@pytest.mark.parametrize("command", ["worker", "up", "broker status", "tail", "events", "send a b", "doctor", "topics"])
def test_wrong_setting_is_one_line_and_exit_code_1(command: str, tmp_path: Path) -> None:
    """Every command refuses it before it does anything, and no trace is shown."""
    run = run_barnabas(*command.split(), env={"BARNABAS_PARTITIONS": "none"}, cwd=tmp_path)
    assert run.returncode == (3 if command == "doctor" else 1)
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
