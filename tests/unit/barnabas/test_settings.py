"""Settings: where they come from, what wins, and how a mistake is named."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from barnabas.composition import build_agents, worker_options
from barnabas.configuration import load_settings
from barnabas.settings import Settings
from schemas.errors import SettingsError
from state.options import StoreOptions
from streams.agent import Agent
from streams.options import ConsumerOptions, Limits
from streams.providers.protocol import Timeouts

Configure = Callable[..., Settings]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Give a function that loads settings from a file's text and variables alone."""
    for name in os.environ:
        if name.startswith(("BARNABAS_", "KAFKA_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def load(text: str | None = None, **variables: str) -> Settings:
        if text is not None:
            (tmp_path / "barnabas.yaml").write_text(text)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return load


def test_load_nothing_set_gives_the_documented_defaults(configure: Configure) -> None:
    """What the README says."""
    settings = configure()
    assert (settings.prefix, settings.partitions, settings.model, settings.bootstrap_servers) == (
        "barnabas",
        16,
        "local",
        None,
    )
    assert (list(settings.agents), settings.answering_agent) == (["assistant"], "assistant")
    assert settings.data_dir.name == "barnabas"


def test_load_nothing_set_takes_the_defaults_of_the_dataclasses(configure: Configure) -> None:
    """One source of defaults."""
    settings = configure()
    assert (settings.limits, settings.consumer, settings.store) == (Limits(), ConsumerOptions(), StoreOptions())
    assert settings.timeouts == Timeouts()
    declared = settings.agents["assistant"]
    fields = {field.name: field.default for field in dataclasses.fields(Agent)}
    assert declared.max_concurrent_turns == fields["max_concurrent_turns"]


def test_load_environment_is_above_the_file(configure: Configure) -> None:
    """Field by field, nested ones, too."""
    text = "prefix: filed\nlimits:\n  max_turns: 5\n  turn_timeout_s: 3\n"
    settings = configure(text, BARNABAS_LIMITS__MAX_TURNS="9")
    assert (settings.prefix, settings.limits.max_turns, settings.limits.turn_timeout_s) == ("filed", 9, 3.0)


def test_load_customary_names_are_between_environment_and_file(configure: Configure) -> None:
    """KAFKA_BOOTSTRAP_SERVERS, keys and addresses as other tools name them."""
    settings = configure("bootstrap_servers: a:1\n", KAFKA_BOOTSTRAP_SERVERS="b:2,c:3", OPENAI_API_KEY="sk-1")
    assert settings.bootstrap_servers == "b:2,c:3"
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-1"
    assert configure(BARNABAS_BOOTSTRAP_SERVERS="d:4").bootstrap_servers == "d:4"


def test_load_empty_customary_name_is_not_set(configure: Configure) -> None:
    """As `export KAFKA_BOOTSTRAP_SERVERS=` means it."""
    assert configure(KAFKA_BOOTSTRAP_SERVERS="").bootstrap_servers is None


def test_load_secrets_are_not_shown(configure: Configure) -> None:
    """Neither keys nor the clients' passwords."""
    settings = configure("kafka: {sasl.password: hidden}\n", OPENAI_API_KEY="sk-secret", ANTHROPIC_API_KEY="ak-secret")
    assert "secret" not in repr(settings)
    assert "hidden" not in repr(settings)
    assert settings.kafka == {"sasl.password": "hidden"}


def test_load_config_variable_names_the_file(configure: Configure, tmp_path: Path) -> None:
    """It wins over ./barnabas.yaml; one that is missing is refused."""
    (tmp_path / "other.yaml").write_text("prefix: other\n")
    assert configure("prefix: here\n", BARNABAS_CONFIG=str(tmp_path / "other.yaml")).prefix == "other"
    with pytest.raises(SettingsError, match=r"config: .*missing\.yaml is no file"):
        configure(BARNABAS_CONFIG="missing.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prefx: x\n", r"^prefx: unknown setting; did you mean prefix\? \(.*barnabas\.yaml:1\)$"),
        ("prefix: a b\n", r"^prefix: 'a b' cannot begin a topic name.*:1\)$"),
        ("model: echo\npartitions: 0\n", r"^partitions: .*barnabas\.yaml:2\)$"),
        ("limits:\n  max_turns: 0\n", r"^limits\.max_turns: 0 is impossible.*barnabas\.yaml:2\)$"),
        ("monitoring:\n  port: -1\n", r"^monitoring\.port: -1 is impossible.*barnabas\.yaml:2\)$"),
        ("agents:\n  poet:\n    timeouts:\n      total_s: 0\n", r"^agents\.poet\.timeouts\.total_s: 0.*yaml:4\)$"),
        ("limits:\n  max_turn: 3\n", r"^limits\.max_turn: unknown setting.*barnabas\.yaml:2\)$"),
        ("limits:\n  high_water: 9\n  low_water: 9\n", r"^limits\.low_water: .*barnabas\.yaml:3\)$"),
        ("limits:\n  high_water: 9\n", r"^limits\.low_water: it has to be less than .*barnabas\.yaml:2\)$"),
        ("consumer: {heartbeat_interval_s: 5}\n", r"^consumer\.heartbeat_interval_s: .*barnabas\.yaml:1\)$"),
        ("prefix: a\nkafka:\n  foo.bar: 1\n", r"^kafka\.foo\.bar: No such configuration property.*barnabas\.yaml:3\)$"),
        ("kafka: {socket.timeout.ms: soon}\n", r"^kafka\.socket\.timeout\.ms: Invalid value .*barnabas\.yaml:1\)$"),
        ("prefix: a\nmodel: echo\nprefix: b\n", r"^prefix: set twice, in line 1 as well \(.*barnabas\.yaml:3\)$"),
        ("agents:\n  a: {}\n  a: {}\n", r"^agents\.a: set twice, in line 2 as well \(.*barnabas\.yaml:3\)$"),
        ("agents:\n  poet:\n    modl: echo\n", r"^agents\.poet\.modl: unknown setting.*barnabas\.yaml:3\)$"),
        ("agents:\n  poet:\n    temperature: -1\n", r"^agents\.poet\.temperature: .*barnabas\.yaml:3\)$"),
        ("agents: {a b: {}}\n", r"agents\.a b"),
        ("agents: {}\n", r"^agents: none is declared.*barnabas\.yaml:1\)$"),
        ("agents: {a: {}, b: {}}\n", r"^default_agent: name one of the declared agents: a, b \(.*yaml:1\)$"),
        ("agents: {a: {}}\ndefault_agent: c\n", r"^default_agent: 'c' is not declared; .*barnabas\.yaml:2\)$"),
        ("bootstrap_servers: nowhere\n", r"^bootstrap_servers: "),
        ("log_level: loud\n", r"^log_level: "),
        ("a: [\n", r"barnabas\.yaml:2: no YAML"),
        ("- a\n", r"barnabas\.yaml:1: a mapping of settings is expected, not a list"),
    ],
)
def test_load_wrong_file_is_refused_with_field_file_and_line(configure: Configure, text: str, expected: str) -> None:
    """At start, not at the first message."""
    with pytest.raises(SettingsError, match=expected):
        configure(text)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BARNABAS_PARTITION", "3", r"^BARNABAS_PARTITION: unknown setting.*did you mean BARNABAS_PARTITIONS\?"),
        ("BARNABAS_PARTITIONS", "many", r"^partitions: .*\(BARNABAS_PARTITIONS\)$"),
        ("BARNABAS_LIMITS__MAX_TURNS", "x", r"^limits\.max_turns: .*\(BARNABAS_LIMITS__MAX_TURNS\)$"),
        ("BARNABAS_LIMITS__MAX_TURNS", "0", r"^limits\.max_turns: 0 is .*\(BARNABAS_LIMITS__MAX_TURNS\)$"),
        ("BARNABAS_LIMITS__HIGH_WATER", "9", r"^limits\.low_water: .*\(BARNABAS_LIMITS__HIGH_WATER\)$"),
        ("BARNABAS_KAFKA", '{"foo.bar": 1}', r"^kafka\.foo\.bar: No such .*\(BARNABAS_KAFKA\)$"),
        ("BARNABAS_AGENTS", "x", r"^agents: BARNABAS_AGENTS holds no JSON"),
        ("KAFKA_BOOTSTRAP_SERVERS", "nowhere", r"^bootstrap_servers: .*\(KAFKA_BOOTSTRAP_SERVERS\)$"),
    ],
)
def test_load_wrong_variable_is_refused_by_name(configure: Configure, name: str, value: str, expected: str) -> None:
    """The operator sees which variable to put right."""
    with pytest.raises(SettingsError, match=expected):
        configure(**{name: value})


def test_load_merged_mappings_are_not_set_twice(configure: Configure) -> None:
    """YAML's merge key: what a mapping says itself is over what it takes from others, however many those are."""
    text = "agents:\n  a: &a {max_steps: 2}\n  b: &b {max_tokens: 3}\n  c:\n    <<: *a\n    <<: *b\n    max_steps: 4\n"
    declared = configure(text + "default_agent: c\n").agents["c"]
    assert (declared.max_steps, declared.max_tokens) == (4, 3)


def test_settings_cannot_be_changed(configure: Configure) -> None:
    """One frozen object."""
    with pytest.raises(ValidationError):
        configure().prefix = "other"  # type: ignore[misc]


def test_build_agents_declared_ones_get_their_settings(configure: Configure) -> None:
    """Model and time-outs of the deployment where an agent names none; equal ones share a provider."""
    text = (
        "model: echo\ndefault_agent: plain\nagents:\n  plain: {}\n  same: {system_prompt: Be kind.}\n"
        "  poet: {model: 'echo:5', max_tokens: 7, memory_tokens: 50, timeouts: {total_s: 9}}\n"
    )
    agents = build_agents(configure(text))
    plain, same, poet = agents["plain"], agents["same"], agents["poet"]
    assert agents.default == "plain"
    assert plain.provider is same.provider
    assert poet.provider is not plain.provider
    assert (poet.model, poet.max_tokens, poet.timeouts.total_s) == ("echo:5", 7, 9)
    assert poet.memory.max_tokens == 50  # type: ignore[attr-defined]
    assert same.system_prompt == "Be kind."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: eco\n", r"^model: unknown model 'eco'.*barnabas\.yaml:1\)$"),
        ("agents:\n  poet:\n    model: eco\n", r"^agents\.poet\.model: unknown model 'eco'.*barnabas\.yaml:3\)$"),
        ("agents:\n  poet:\n    model: echo\n    tools: [a:b]\n", r"^agents\.poet\.tools: .*barnabas\.yaml:4\)$"),
        ("model: 'anthropic:x'\n", r"ANTHROPIC_API_KEY"),
    ],
)
def test_build_agents_impossible_model_is_refused_by_field(configure: Configure, text: str, expected: str) -> None:
    """Before anything is started."""
    with pytest.raises(SettingsError, match=expected):
        build_agents(configure(text))


def test_worker_options_carry_every_setting(configure: Configure, tmp_path: Path) -> None:
    """Nothing that is set is forgotten on the way."""
    settings = configure(
        "prefix: p\npartitions: 3\nlimits: {max_turns: 2}\nconsumer: {session_timeout_s: 9}\n"
        "store: {max_open_files: 8}\nkafka: {client.rack: r1}\nschema_registry_url: http://r:1\n",
        BARNABAS_DATA_DIR=str(tmp_path),
    )
    options = worker_options(settings, "a:1", name="w")
    assert (options.bootstrap_servers, options.data_dir, options.prefix, options.partitions, options.name) == (
        "a:1",
        tmp_path,
        "p",
        3,
        "w",
    )
    assert (options.limits.max_turns, options.consumer.session_timeout_s, options.store.max_open_files) == (2, 9, 8)
    assert (options.client_config["client.rack"], options.registry_url) == ("r1", "http://r:1")


def test_worker_options_security_that_the_group_lacks_is_refused_by_name(configure: Configure) -> None:
    """What librdkafka takes and the consumer group cannot honour; the rest goes on to both."""
    text = "kafka: {security.protocol: SASL_SSL, sasl.username: ada, sasl.password: s3cret, sasl.mechanism: %s}\n"
    with pytest.raises(SettingsError, match=r"^kafka\.sasl\.mechanism: .*barnabas\.yaml:1\)$") as refused:
        worker_options(configure(text % "OAUTHBEARER"), "a:1")
    assert "s3cret" not in str(refused.value)
    options = worker_options(configure(text % "PLAIN"), "a:1")
    assert options.client_config["sasl.password"] == "s3cret"
    assert "s3cret" not in repr(options)


@pytest.mark.parametrize("name", ["BARNABAS_KAFKA__SASL_PASSWORD", "BARNABAS_KAFKA__sasl.password"])
def test_load_password_from_a_variable_is_above_the_file(configure: Configure, name: str) -> None:
    """A shell's variables have no dots; the rest stays the file's."""
    settings = configure("kafka: {sasl.username: ada, sasl.password: old}\n", **{name: "007"})
    assert settings.kafka == {"sasl.username": "ada", "sasl.password": "007"}
    settings = configure("kafka: {sasl.username: ada}\n", BARNABAS_KAFKA='{"sasl.password": "new"}')
    assert settings.kafka["sasl.username"] == "ada"


def test_load_password_that_is_a_number_is_refused(configure: Configure) -> None:
    """YAML would have made another text of it; its value is not told."""
    with pytest.raises(SettingsError, match=r"^kafka\.sasl\.password: .*quotes \(.*barnabas\.yaml:1\)$") as refused:
        configure("kafka: {sasl.password: 0x10}\n")
    assert "16" not in str(refused.value)
