"""Every setting of Barnabas in one frozen object: ``barnabas.yaml``, and the environment above it.

Names in the environment are ``BARNABAS_`` and the field's, nested ones joined by two underscores
(``BARNABAS_LIMITS__MAX_TURNS``). The customary names of :data:`CUSTOMARY` are honoured below those. Defaults of a
worker's limits stand where they are used: in the dataclasses of ``streams`` and ``state``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.errors import SettingsError
from state.memory import RecentMessages
from state.options import StoreOptions
from streams.agent import Agent
from streams.options import ConsumerOptions, Limits
from streams.providers.protocol import Timeouts
from topics.names import TopicNames

PREFIX = "BARNABAS_"
NESTED = "__"

#: Names that other tools use as well: field to variable.
CUSTOMARY = {
    "bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
    "openai_api_key": "OPENAI_API_KEY",
    "openai_base_url": "OPENAI_BASE_URL",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
}

#: Answers where no agent is declared.
BUILT_IN_AGENT = "assistant"

_CHECKED = ConfigDict(frozen=True, extra="forbid")
_AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _default(kind: type, name: str) -> Any:
    """Return the default of a dataclass's field."""
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


class AgentSettings(BaseModel):
    """One agent, under its name in ``agents``.

    Attributes:
        model: ``local``, ``echo``, ``scripted``, ``openai:NAME``, ``anthropic:NAME``; the deployment's where absent.
        system_prompt: First message of each prompt.
        max_concurrent_turns: Its share of a worker's slots.
        max_tokens: Longest answer, in the model's tokens.
        temperature: The model's own where absent.
        memory_tokens: Budget of a session's memory, in estimated tokens.
        timeouts: Limits of one model call; the deployment's where absent.
    """

    model_config = _CHECKED

    model: str | None = None
    system_prompt: str = ""
    max_concurrent_turns: int = Field(default=_default(Agent, "max_concurrent_turns"), gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    memory_tokens: int = Field(default=_default(RecentMessages, "max_tokens"), gt=0, le=100_000)  # fits into a record
    timeouts: Timeouts | None = None


class Settings(BaseSettings):
    """What an operator may set; :func:`barnabas.configuration.load_settings` makes it.

    Attributes:
        bootstrap_servers: ``host:port[,host:port]``; the embedded broker where absent.
        kafka: Further settings of the librdkafka clients, by its own names.
        schema_registry_url: Confluent's wire format when set.
        prefix: Of every topic of the deployment.
        partitions: Of every topic; fixed for a deployment's life.
        replication_factor: Copies of each partition, used when topics are made.
        data_dir: The embedded broker's and the workers' data.
        model: The model of agents that name none.
        timeouts: Limits of one model call, in seconds.
        limits: Bounds of a worker.
        consumer: The consumer group's timing.
        store: RocksDB's bounds.
        agents: By name.
        default_agent: Answers messages that name none; the only agent, or ``assistant``, where absent.
        log_level: Of a worker's log.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # it may be a key
        protected_namespaces=(),
    )

    bootstrap_servers: str | None = Field(default=None, pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$")
    kafka: dict[str, str | int | float | bool] = Field(default_factory=dict, repr=False)
    schema_registry_url: str | None = None
    prefix: str = "barnabas"
    partitions: int = Field(default=16, gt=0, le=10_000)
    replication_factor: int = Field(default=1, gt=0)
    data_dir: Path = Field(default_factory=lambda: user_data_path("barnabas"))
    model: str = "local"
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    consumer: ConsumerOptions = ConsumerOptions()
    store: StoreOptions = StoreOptions()
    agents: dict[_AgentName, AgentSettings] = Field(default_factory=lambda: {BUILT_IN_AGENT: AgentSettings()})
    default_agent: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def names(self) -> TopicNames:
        """The deployment's topics."""
        return TopicNames(self.prefix)

    @property
    def broker_dir(self) -> Path:
        """The embedded broker's data."""
        return self.data_dir / "broker"

    @property
    def answering_agent(self) -> str:
        """The agent of messages that name none."""
        return self.default_agent or (BUILT_IN_AGENT if BUILT_IN_AGENT in self.agents else next(iter(self.agents)))

    @field_validator("prefix")
    @classmethod
    def _legal_prefix(cls, value: str) -> str:
        try:
            TopicNames(value)
        except SettingsError as error:
            raise ValueError(str(error).removeprefix("prefix: ")) from error
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("timeouts", "limits", "consumer", "store")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        for field in dataclasses.fields(value):
            if getattr(value, field.name) <= 0:
                raise ValueError(f"{field.name}: {getattr(value, field.name)} is impossible; it is above 0")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.limits.low_water >= self.limits.high_water:
            raise ValueError("limits.low_water: it has to be less than limits.high_water")
        if self.consumer.heartbeat_interval_s * 2 > self.consumer.session_timeout_s:
            raise ValueError("consumer.heartbeat_interval_s: at most half of consumer.session_timeout_s")
        if not self.agents:
            raise ValueError("agents: none is declared; leave the field out for the built-in one")
        if self.default_agent is not None and self.default_agent not in self.agents:
            declared = ", ".join(sorted(self.agents))
            raise ValueError(f"default_agent: {self.default_agent!r} is not declared; declared are {declared}")
        if self.default_agent is None and BUILT_IN_AGENT not in self.agents and len(self.agents) > 1:
            raise ValueError(f"default_agent: name one of the declared agents: {', '.join(sorted(self.agents))}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above what the loader hands in (file and customary names)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return (env_settings, init_settings)


def variable(location: tuple[str | int, ...]) -> str:
    """Return the environment's name of a field, such as ``BARNABAS_LIMITS__MAX_TURNS``."""
    return PREFIX + NESTED.join(map(str, location)).upper()


def is_known(name: str) -> bool:
    """Whether a variable beginning with ``BARNABAS_`` is a setting's."""
    field, _, _ = name.upper().removeprefix(PREFIX).partition(NESTED)
    return field.lower() in Settings.model_fields
