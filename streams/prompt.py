"""A turn's prompt: what the agent is, what the session remembers, what was just said."""

from __future__ import annotations

from typing import cast

from schemas.session import Session
from streams.agent import Agent
from streams.providers.protocol import ChatMessage, Role


def prompt_for(
    agent: Agent, session: Session, text: str, provided: list[ChatMessage] | None = None
) -> tuple[ChatMessage, ...]:
    """Build the messages of a model call, in the order a model reads them."""
    messages: list[ChatMessage] = []
    if agent.system_prompt:
        messages.append(ChatMessage(role="system", content=agent.system_prompt))
    if session.summary:
        messages.append(ChatMessage(role="system", content=session.summary))
    messages.extend(ChatMessage(role=cast("Role", entry.role), content=entry.text) for entry in session.memory)
    messages.extend(provided or ())
    messages.append(ChatMessage(role="user", content=text))
    return tuple(messages)
