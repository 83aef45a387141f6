"""From settings to the parts of a worker."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from barnabas.settings import AgentSettings, Settings
from schemas.errors import SettingsError
from state.memory import RecentMessages
from streams.agent import Agent, Agents
from streams.providers.protocol import Provider
from streams.providers.registry import TAKES_TOOLS, ProviderOptions, create_provider
from streams.tools import Tool, load_tool
from streams.tracing import NO_TRACING, Tracing
from topics.catalog import TopicSpec, catalog

if TYPE_CHECKING:
    from streams.worker_options import WorkerOptions

#: Either of them set switches tracing on, as in other programs.
OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def build_agents(settings: Settings) -> Agents:
    """Make the declared agents; agents with the same model and time-outs share one provider. Nothing is opened.

    Raises:
        SettingsError: A model is unknown or lacks its key, or a tool cannot be had.
    """
    providers: dict[object, Provider] = {}

    def build(name: str, declared: AgentSettings) -> Agent:
        model = declared.model or settings.model
        timeouts = declared.timeouts or settings.timeouts
        if (model, timeouts) not in providers:
            try:
                providers[model, timeouts] = create_provider(model, _provider_options(settings, declared))
            except SettingsError as error:
                field = ("agents", name, "model") if declared.model else ("model",)
                raise settings.mistake(str(error).removeprefix("BARNABAS_MODEL: "), *field) from error
        return Agent(
            name=name,
            model=model,
            provider=providers[model, timeouts],
            system_prompt=declared.system_prompt,
            max_concurrent_turns=declared.max_concurrent_turns,
            max_tokens=declared.max_tokens,
            temperature=declared.temperature,
            timeouts=timeouts,
            memory=RecentMessages(declared.memory_tokens),
            tools=_tools(settings, name, model),
            max_steps=declared.max_steps,
        )

    agents = {name: build(name, declared) for name, declared in settings.agents.items()}
    return Agents(agents, default=settings.answering_agent)


def _tools(settings: Settings, name: str, model: str) -> tuple[Tool, ...]:
    """Import an agent's tools, from the current directory as well."""
    declared, field = settings.agents[name], ("agents", name, "tools")
    if declared.tools and model.partition(":")[0] not in TAKES_TOOLS:
        known = ", ".join(sorted(TAKES_TOOLS))
        raise settings.mistake(f"the model {model!r} calls no tools; those that do: {known}", *field)
    if declared.tools and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return tuple(load_tool(path) for path in declared.tools)
    except SettingsError as error:
        raise settings.mistake(str(error), *field) from error


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return the deployment's topics as they have to be."""
    return catalog(settings.names, settings.partitions, replication_factor=settings.replication_factor)


def worker_options(
    settings: Settings,
    bootstrap_servers: str,
    *,
    name: str = "",
    monitoring_port: int | None = None,
    reads_port: int | None = None,
) -> WorkerOptions:
    """Return what a worker needs to know; ``monitoring_port`` and ``reads_port`` are over the settings' own.

    Raises:
        SettingsError: ``kafka`` asks for a secured connection that the consumer group cannot honour.
    """
    from streams.worker_options import WorkerOptions

    check_group_security(settings)
    monitoring = settings.monitoring
    if monitoring_port is not None:
        monitoring = replace(monitoring, port=monitoring_port)
    reads = settings.reads if reads_port is None else replace(settings.reads, port=reads_port)
    return WorkerOptions(
        bootstrap_servers=bootstrap_servers,
        data_dir=settings.data_dir,
        prefix=settings.prefix,
        partitions=settings.partitions,
        name=name,
        registry_url=settings.schema_registry_url,
        # librdkafka's own lines go through our log instead of straight to stderr.
        client_config={"logger": logging.getLogger("librdkafka"), **settings.kafka},
        limits=settings.limits,
        consumer=settings.consumer,
        store=settings.store,
        monitoring=monitoring,
        watchdog=settings.watchdog,
        standby_replicas=settings.standby_replicas,
        reads=reads,
    )


def check_group_security(settings: Settings) -> None:
    """See whether a worker's consumer group can honour what ``kafka`` says of TLS and SASL.

    Raises:
        SettingsError: It cannot; the text names the setting.
    """
    if not settings.kafka:
        return
    from streams.credentials import group_credentials  # Faust and aiokafka, for workers alone

    try:
        group_credentials(settings.kafka)
    except SettingsError as error:
        name, _, text = str(error).partition(": ")
        raise settings.mistake(text, "kafka", name) from error


def build_tracing(settings: Settings, *, worker: str, environ: Mapping[str, str] = os.environ) -> Tracing:
    """Return what makes traces: OpenTelemetry's where settings or ``OTEL_*`` variables ask for it, else nothing.

    Raises:
        SettingsError: It is asked for and not installed.
    """
    options = settings.tracing
    asked = options.enabled or options.endpoint is not None or any(environ.get(name) for name in OTEL_ENDPOINTS)
    if not asked or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NO_TRACING
    try:
        from streams.otel import OtelTracing, exporting_provider
    except ImportError as error:
        raise SettingsError(f"tracing: {error.name} is not installed; run: pip install 'barnabas[otel]'") from error
    return OtelTracing(exporting_provider(options, worker=worker), settings.names, worker=worker)


def _provider_options(settings: Settings, declared: AgentSettings) -> ProviderOptions:
    return ProviderOptions(
        openai_api_key=settings.openai_api_key,
        openai_base_url=settings.openai_base_url,
        anthropic_api_key=settings.anthropic_api_key,
        anthropic_base_url=settings.anthropic_base_url,
        timeouts=declared.timeouts or settings.timeouts,
    )
