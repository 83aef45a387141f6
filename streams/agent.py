"""An agent: who answers, with which model, and what is asked before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from schemas.errors import InvalidMessageError, SettingsError
from schemas.events import TurnCompleted
from schemas.session import Session
from state.memory import MemoryStrategy, RecentMessages
from streams.incoming import Incoming
from streams.providers.protocol import ChatMessage, Provider, Timeouts, ToolSpec
from streams.tools import Tool


class ContextProvider(Protocol):
    """Adds to a turn's prompt: documents, facts, the time of day."""

    name: str

    async def provide(self, session: Session, incoming: Incoming) -> list[ChatMessage]:
        """Return messages to stand before the user's; an error or a time-out leaves them out."""


class Evaluator(Protocol):
    """Looks at an answer after it was given; never delays it."""

    name: str

    async def evaluate(self, session: Session, incoming: Incoming, outcome: TurnCompleted) -> None:
        """Judge the answer; an error is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One declared agent.

    Attributes:
        name: How messages ask for it.
        model: The model string, for the log (``echo``, ``openai:gpt-4o``, ...).
        provider: Answers its model calls.
        system_prompt: First message of each prompt; none where empty.
        max_concurrent_turns: Its share of the worker's slots.
        max_tokens: Longest answer, in the model's tokens.
        temperature: The model's default where None.
        timeouts: Limits of one model call.
        memory: What its sessions remember.
        context_providers: Asked in order before each model call.
        context_timeout_s: Longest time one of them may take.
        evaluators: Told in order after each answer.
        evaluator_timeout_s: Longest time one of them may take.
        tools: What its model may call.
        max_steps: Model calls a turn may take; one that then still asks for tools fails.
    """

    name: str
    model: str
    provider: Provider
    system_prompt: str = ""
    max_concurrent_turns: int = 1000
    max_tokens: int | None = None
    temperature: float | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    memory: MemoryStrategy = field(default_factory=RecentMessages)
    context_providers: tuple[ContextProvider, ...] = ()
    context_timeout_s: float = 2.0
    evaluators: tuple[Evaluator, ...] = ()
    evaluator_timeout_s: float = 60.0
    tools: tuple[Tool, ...] = ()
    max_steps: int = 8
    #: The tools as its model sees them.
    tool_specs: tuple[ToolSpec, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check that each tool has a name of its own.

        Raises:
            SettingsError: Two share one.
        """
        names = [tool.name for tool in self.tools]
        for name in names:
            if names.count(name) > 1:
                raise SettingsError(f"agents.{self.name}.tools: two tools are called {name!r}; give one another name")
        object.__setattr__(self, "tool_specs", tuple(tool.spec for tool in self.tools))

    def tool(self, name: str) -> Tool | None:
        """Return the tool that a model calls by this name."""
        return next((tool for tool in self.tools if tool.name == name), None)


class Agents:
    """The deployment's agents by name."""

    def __init__(self, agents: Mapping[str, Agent], *, default: str) -> None:
        if default not in agents:
            msg = f"default_agent: {default!r} is not declared; declared are {', '.join(sorted(agents))}"
            raise SettingsError(msg)
        self._agents = dict(agents)
        self.default = default

    def __getitem__(self, name: str) -> Agent:
        return self._agents[name]

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def resolve(self, name: str | None) -> str:
        """Return the name of the agent that answers.

        Raises:
            InvalidMessageError: ``unknown_agent``.
        """
        if name is None:
            return self.default
        if name not in self._agents:
            reason = "unknown_agent"
            msg = f"agent {name!r} is not declared; declared are {', '.join(sorted(self._agents))}"
            raise InvalidMessageError(reason, msg)
        return name

    async def warm(self) -> None:
        """Open connections and load models, each provider once."""
        for provider in {id(agent.provider): agent.provider for agent in self}.values():
            await provider.warm()

    async def close(self) -> None:
        """Release every provider."""
        for provider in {id(agent.provider): agent.provider for agent in self}.values():
            await provider.close()
