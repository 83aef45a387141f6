"""What a model provider is: a request, the deltas that answer it, and the limits it must keep.

A stream yields :class:`ModelDelta` s. Exactly one of them, the last, has a ``finish_reason``; it may
carry the usage, and its text may be empty. A stream that ends without one was cut off, never completed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from schemas.events import ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Role = Literal["system", "user", "assistant", "tool"]


# Structs with ``gc=False``: 35,000 of them a second hold nothing that can form a cycle, and a tracked
# object costs the collector's passes as well as its header.
class ChatMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message of the prompt.

    ``tool_calls`` stand in an assistant's message that asked for tools; each is answered by a message of the
    role ``tool`` that names it by ``tool_call_id``.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model sees it; ``parameters`` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call; ``session_id`` and ``turn_id`` are for logs and call records, never sent."""

    messages: tuple[ChatMessage, ...]
    model: str = ""
    """The endpoint's own name of the model; empty: the one the provider was created with."""
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call; only for providers in ``registry.TAKES_TOOLS``."""
    session_id: str | None = None
    turn_id: str | None = None

    @property
    def user_text(self) -> str:
        """The content of the last user message; empty when there is none."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.content
        return ""


class ModelUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the provider counts them; words, for the deterministic ones."""

    prompt_tokens: int
    completion_tokens: int


class ModelDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer; ``finish_reason`` (``stop``, ``length``, …) marks the last one.

    ``tool_calls`` come whole, with the last delta; their ids are the endpoint's.
    """

    text: str
    finish_reason: str | None = None
    usage: ModelUsage | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one model call, in seconds; each raises ``ProviderTimeoutError`` with its name."""

    connect_s: float = 5.0
    """TCP and TLS take well under a second; 5 s lets one lost SYN be sent again (1 s, then 2 s)."""
    first_token_s: float = 30.0
    """A long prompt on a busy endpoint queues for seconds, and then is slow rather than down."""
    between_tokens_s: float = 15.0
    """Once it speaks, a model emits several tokens a second: 15 s of silence is a stalled stream."""
    total_s: float = 120.0
    """4,000 tokens at 35 tokens/s; a turn holds back its partition's acknowledgement that long."""


class Provider(Protocol):
    """A model behind one interface; safe for thousands of concurrent streams on one event loop."""

    @property
    def name(self) -> str:
        """The provider's kind (``echo``, ``openai``, …), for logs and metrics."""
        ...

    async def warm(self) -> None:
        """Load the model or open the connection; repeated calls are cheap.

        Raises ``ProviderUnavailableError``, ``ProviderTimeoutError`` or ``ProviderError`` of the
        endpoint, and ``SettingsError`` when something is not installed.
        """
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Answer ``request``; closing the generator ends the call. Read it through ``bounded``.

        Raises ``ProviderError`` (refused, malformed), ``ProviderUnavailableError`` (unreachable, 429,
        5xx, broken off) and ``ProviderTimeoutError("connect")``.
        """
        ...

    async def close(self) -> None:
        """End running calls and release connections, threads and the model; repeatable, and for good.

        A call that comes after it, or a retry that wakes up after it, raises ``ProviderUnavailableError``
        where there was something to release.
        """
        ...
