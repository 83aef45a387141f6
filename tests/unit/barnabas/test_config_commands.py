"""``barnabas config``: what is in force and why, never a secret; mistakes with their place."""

import json
from pathlib import Path

import pytest

from barnabas.cli import main
from barnabas.configuration import MASK
from streams.options import ConsumerOptions

YAML = """\
model: openai:gpt
openai_api_key: sk-very-secret
openai_base_url: http://user:hunter2@host/v1
kafka:
  sasl.password: hunter2
limits:
  max_turns: 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a current directory of one's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "BARNABAS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out, shown.err


def test_show_every_setting_with_its_source(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and line, variable (a JSON one sets some fields of a mapping), or default; secrets are masked."""
    (folder / "barnabas.yaml").write_text(YAML)
    monkeypatch.setenv("BARNABAS_PARTITIONS", "4")
    monkeypatch.setenv("BARNABAS_CONSUMER", '{"session_timeout_s": 9}')
    code, out, err = _run(capsys, "config", "show", "--json")
    found = {line["field"]: (line["value"], line["origin"]) for line in map(json.loads, out.splitlines())}
    assert code == 0
    assert found["model"] == ("openai:gpt", "barnabas.yaml:1")
    assert found["openai_api_key"] == (MASK, "barnabas.yaml:2")
    assert found["openai_base_url"] == (f"http://{MASK}@host/v1", "barnabas.yaml:3")
    assert found["kafka.sasl.password"] == (MASK, "barnabas.yaml:5")
    assert found["limits.max_turns"] == (5, "barnabas.yaml:7")
    assert found["limits.high_water"] == (4000, "default")
    assert found["partitions"] == (4, "BARNABAS_PARTITIONS")
    assert found["consumer.session_timeout_s"] == (9.0, "BARNABAS_CONSUMER")
    assert found["consumer.heartbeat_interval_s"] == (ConsumerOptions().heartbeat_interval_s, "default")
    assert "hunter2" not in out + err
    assert "very-secret" not in out + err
    _, changed, _ = _run(capsys, "config", "show", "--changed")
    assert len(changed.splitlines()) == 7
    assert "# barnabas.yaml:7" in changed


def test_check_settings_models_and_tools(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a worker would refuse is refused here, in one line with field, file and line."""
    (folder / "barnabas.yaml").write_text(YAML)
    assert _run(capsys, "config", "check") == (0, "ok: 5 settings from barnabas.yaml, the rest are defaults\n", "")
    (folder / "barnabas.yaml").write_text("limits:\n  max_turns: 0\n")
    code, _, err = _run(capsys, "config", "check")
    assert code == 1
    assert "limits.max_turns: 0" in err
    assert "(barnabas.yaml:2)" in err
    assert len(err.splitlines()) == 1


def test_check_tools_of_an_agent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tool in the current directory is found; a missing one, and a model without tools, are refused by field."""
    (folder / "shop_tools.py").write_text("def stock(article: str) -> int:\n    return 42\n")
    text = "model: scripted\nagents:\n  a:\n    tools: [{tool}]\n    model: {model}\n"
    (folder / "barnabas.yaml").write_text(text.format(tool="shop_tools:stock", model="scripted"))
    assert _run(capsys, "config", "check")[0] == 0
    (folder / "barnabas.yaml").write_text(text.format(tool="shop_tools:stocks", model="scripted"))
    assert "agents.a.tools: 'shop_tools:stocks': shop_tools has no stocks" in _run(capsys, "config", "check")[2]
    (folder / "barnabas.yaml").write_text(text.format(tool="shop_tools:stock", model="echo"))
    assert "agents.a.tools: the model 'echo' calls no tools" in _run(capsys, "config", "check")[2]
