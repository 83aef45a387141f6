"""From settings to the parts of a worker."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barnabas.settings import AgentSettings, Settings
from schemas.errors import SettingsError
from state.memory import RecentMessages
from streams.agent import Agent, Agents
from streams.providers.protocol import Provider
from streams.providers.registry import ProviderOptions, create_provider
from topics.catalog import TopicSpec, catalog

if TYPE_CHECKING:
    from streams.worker import WorkerOptions


def build_agents(settings: Settings) -> Agents:
    """Make the declared agents; agents with the same model and time-outs share one provider. Nothing is opened.

    Raises:
        SettingsError: A model is unknown, or lacks its key.
    """
    providers: dict[object, Provider] = {}

    def build(name: str, declared: AgentSettings) -> Agent:
        model = declared.model or settings.model
        timeouts = declared.timeouts or settings.timeouts
        if (model, timeouts) not in providers:
            try:
                providers[model, timeouts] = create_provider(model, _provider_options(settings, declared))
            except SettingsError as error:
                field = f"agents.{name}.model" if declared.model else "model"
                raise SettingsError(f"{field}: {str(error).removeprefix('BARNABAS_MODEL: ')}") from error
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
        )

    agents = {name: build(name, declared) for name, declared in settings.agents.items()}
    return Agents(agents, default=settings.answering_agent)


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return the deployment's topics as they have to be."""
    return catalog(settings.names, settings.partitions, replication_factor=settings.replication_factor)


def worker_options(settings: Settings, bootstrap_servers: str, *, name: str = "") -> WorkerOptions:
    """Return what a worker needs to know.

    Raises:
        SettingsError: ``kafka`` asks for a secured connection, which the consumer group does not speak yet.
    """
    from streams.worker import WorkerOptions

    for key in settings.kafka:
        if key.startswith(("security.", "sasl.", "ssl.")):
            raise SettingsError(
                f"kafka.{key}: a worker's consumer group connects in plain text only in this version; "
                "give workers a plain listener"
            )
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
    )


def _provider_options(settings: Settings, declared: AgentSettings) -> ProviderOptions:
    return ProviderOptions(
        openai_api_key=settings.openai_api_key,
        openai_base_url=settings.openai_base_url,
        anthropic_api_key=settings.anthropic_api_key,
        anthropic_base_url=settings.anthropic_base_url,
        timeouts=declared.timeouts or settings.timeouts,
    )
