"""Every setting of Barnabas in one frozen object: ``barnabas.yaml``, and the environment above it.

Names in the environment are ``BARNABAS_`` and the field's, nested ones joined by two underscores
(``BARNABAS_LIMITS__MAX_TURNS``). The customary names of :data:`barnabas.sources.CUSTOMARY` are honoured below
those. Defaults of a worker's limits stand where they are used: in the dataclasses of ``streams`` and ``state``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from platformdirs import user_data_path
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from barnabas.gateway.options import GatewayOptions
from barnabas.gateway.security.validation import check_security, check_tls
from barnabas.sources import NESTED, PREFIX, FieldError, Sources
from schemas.errors import SettingsError
from state.memory import RecentMessages
from state.options import StoreOptions
from streams.agent import Agent
from streams.options import ConsumerOptions, Limits, MonitoringOptions, ReadOptions, TracingOptions, WatchdogOptions
from streams.providers.protocol import Timeouts
from topics.names import TopicNames

#: Answers where no agent is declared.
BUILT_IN_AGENT = "assistant"

_LAST_PORT = 65_535

_CHECKED = ConfigDict(frozen=True, extra="forbid")
_Numbers = TypeVar("_Numbers", Timeouts, Limits, ConsumerOptions, StoreOptions, WatchdogOptions)
_Listening = TypeVar("_Listening", MonitoringOptions, GatewayOptions)
_AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _default(kind: type, name: str) -> Any:
    """Return the default of a dataclass's field."""
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


def _all_positive(value: _Numbers) -> _Numbers:
    """Refuse a dataclass's number that is not above 0."""
    for field in dataclasses.fields(value):
        number = getattr(value, field.name)
        if number is not None and number <= 0:
            raise FieldError((field.name,), f"{number} is impossible; it is above 0")
    return value


def _parsed(value: Any) -> Any:
    """Return a mapping with what is JSON within it parsed: variables of fields that deep down come as texts."""
    if isinstance(value, dict):
        return {name: _parsed(inner) for name, inner in value.items()}
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


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
        tools: What its model may call: ``module:function``, importable from the current directory.
        max_steps: Model calls a turn may take.
    """

    model_config = _CHECKED

    model: str | None = None
    system_prompt: str = ""
    max_concurrent_turns: int = Field(default=_default(Agent, "max_concurrent_turns"), gt=0)
    max_tokens: int | None = Field(default=None, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    memory_tokens: int = Field(default=_default(RecentMessages, "max_tokens"), gt=0, le=100_000)  # fits into a record
    timeouts: Annotated[Timeouts, AfterValidator(_all_positive)] | None = None
    tools: tuple[str, ...] = ()
    max_steps: int = Field(default=_default(Agent, "max_steps"), gt=0, le=100)


class Settings(BaseSettings):
    """What an operator may set; :func:`barnabas.configuration.load_settings` makes it.

    Attributes:
        bootstrap_servers: ``host:port[,host:port]``; the embedded broker where absent.
        kafka: Further settings of all Kafka clients, by librdkafka's names: TLS and SASL above all.
        schema_registry_url: Confluent's wire format when set.
        prefix: Of every topic of the deployment.
        partitions: Of every topic; fixed for a deployment's life.
        replication_factor: Copies of each partition, used when topics are made.
        data_dir: The embedded broker's and the workers' data.
        model: The model of agents that name none.
        openai_api_key: Of OpenAI, or of the endpoint at ``openai_base_url``.
        openai_base_url: An OpenAI-compatible endpoint; OpenAI's where absent.
        anthropic_api_key: Of Anthropic.
        anthropic_base_url: Another address of Anthropic's interface.
        timeouts: Limits of one model call, in seconds.
        limits: Bounds of a worker.
        consumer: The consumer group's timing.
        store: RocksDB's bounds.
        standby_replicas: Copies of each partition that other workers keep up to date, for a quick takeover.
        agents: By name.
        default_agent: Answers messages that name none; the only agent, or ``assistant``, where absent.
        monitoring: A worker's HTTP endpoint: health and metrics.
        gateway: The HTTP gateway.
        reads: A worker's read interface, which gateways ask for sessions.
        tracing: OpenTelemetry traces; off by default.
        watchdog: When a worker that makes no progress ends.
        log_level: Of a worker's log.
        log_format: Of a worker's log: lines for people, or one JSON object a line.
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
    timeouts: Annotated[Timeouts, AfterValidator(_all_positive)] = Timeouts()
    limits: Annotated[Limits, AfterValidator(_all_positive)] = Limits()
    consumer: Annotated[ConsumerOptions, AfterValidator(_all_positive)] = ConsumerOptions()
    store: Annotated[StoreOptions, AfterValidator(_all_positive)] = StoreOptions()
    standby_replicas: int = Field(default=0, ge=0, le=100)
    agents: dict[_AgentName, AgentSettings] = Field(default_factory=lambda: {BUILT_IN_AGENT: AgentSettings()})
    default_agent: str | None = None
    monitoring: MonitoringOptions = MonitoringOptions()
    gateway: GatewayOptions = GatewayOptions()
    reads: ReadOptions = ReadOptions()
    tracing: TracingOptions = TracingOptions()
    watchdog: Annotated[WatchdogOptions, AfterValidator(_all_positive)] = WatchdogOptions()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    _sources: Sources = PrivateAttr(default_factory=Sources)

    def read_from(self, sources: Sources) -> Self:
        """Remember what they were read from; returns itself."""
        self._sources = sources
        return self

    def mistake(self, text: str, *location: str) -> SettingsError:
        """Return the error that names a field, and the variable or line that sets it."""
        return self._sources.mistake(text, location)

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

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("kafka", mode="before")
    @classmethod
    def _with_dots(cls, value: Any) -> Any:
        """Take the names of variables, ``BARNABAS_KAFKA__SASL_PASSWORD``: a shell's have no dots."""
        return {str(name).replace("_", "."): each for name, each in value.items()} if isinstance(value, dict) else value

    @field_validator("kafka")
    @classmethod
    def _known_to_the_client(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value:
            from barnabas.configuration import is_secret
            from barnabas.connection import check_client_config

            for name, each in value.items():
                if is_secret(name) and not isinstance(each, str):
                    raise FieldError((name,), "is read as a number; put it in quotes")
            check_client_config(value)
        return value

    @field_validator("monitoring", "gateway")
    @classmethod
    def _possible_port(cls, value: _Listening) -> _Listening:
        if not 0 <= value.port <= _LAST_PORT:
            raise FieldError(("port",), f"{value.port} is impossible; it is 0 (a free one) to {_LAST_PORT}")
        return value

    @field_validator("gateway", mode="before")
    @classmethod
    def _said_in_json(cls, value: Any) -> Any:
        return _parsed(value)

    @field_validator("gateway")
    @classmethod
    def _possible_bounds(cls, value: GatewayOptions) -> GatewayOptions:
        for field in dataclasses.fields(value):
            number = getattr(value, field.name)
            is_bound = type(number) in {int, float} and field.name != "port"
            if is_bound and number <= 0:
                raise FieldError((field.name,), f"{number} is impossible; it is above 0")
        check_security(value.security)
        check_tls(value.tls)
        return value

    @field_validator("reads")
    @classmethod
    def _guarded(cls, value: ReadOptions) -> ReadOptions:
        problem = value.problem()
        if problem is not None:
            field, text = problem
            also = (("host",),) if field in {"secret", "url"} else ()
            raise FieldError((field,), text, *also)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.limits.low_water >= self.limits.high_water:
            low, high = ("limits", "low_water"), ("limits", "high_water")
            raise FieldError(low, "it has to be less than limits.high_water", high)
        if self.consumer.heartbeat_interval_s * 2 > self.consumer.session_timeout_s:
            heartbeat, session = ("consumer", "heartbeat_interval_s"), ("consumer", "session_timeout_s")
            raise FieldError(heartbeat, "at most half of consumer.session_timeout_s", session)
        if not self.agents:
            raise FieldError(("agents",), "none is declared; leave the field out for the built-in one")
        if self.default_agent is not None and self.default_agent not in self.agents:
            declared = ", ".join(sorted(self.agents))
            text = f"{self.default_agent!r} is not declared; declared are {declared}"
            raise FieldError(("default_agent",), text, ("agents",))
        if self.default_agent is None and BUILT_IN_AGENT not in self.agents and len(self.agents) > 1:
            text = f"name one of the declared agents: {', '.join(sorted(self.agents))}"
            raise FieldError(("default_agent",), text, ("agents",))
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


def is_known(name: str) -> bool:
    """Whether a variable beginning with ``BARNABAS_`` is a setting's."""
    field, _, _ = name.upper().removeprefix(PREFIX).partition(NESTED)
    return field.lower() in Settings.model_fields
