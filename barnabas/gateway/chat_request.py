"""What a chat completion asks for, as far as it can be honoured; the rest is refused, or named as without effect."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from barnabas.gateway.gateway import Gateway
from barnabas.gateway.messages import check_text
from barnabas.gateway.naming import SESSION_HEADER, checked_session, from_header, idempotency_key
from barnabas.gateway.openai_types import ChatMessage, ChatRequest
from barnabas.gateway.problems import Refusal

_METADATA_SESSION: Final = "session_id"

#: A program that asks for these relies on them: what is harmless, and why the rest is refused.
_IMPOSSIBLE: Final[tuple[tuple[str, Callable[[Any], bool], str], ...]] = (
    ("n", lambda value: value == 1, "one answer is made"),
    ("tools", lambda value: not value, "an agent has its own tools: agents.NAME.tools in its settings"),
    ("functions", lambda value: not value, "an agent has its own tools: agents.NAME.tools in its settings"),
    ("tool_choice", lambda value: value in {"none", "auto"}, "an agent chooses among its own tools"),
    ("function_call", lambda value: value in {"none", "auto"}, "an agent chooses among its own tools"),
    ("response_format", lambda value: value.type == "text", "an answer is text"),
    ("stop", lambda value: not value, "an answer is not cut at a word"),
    ("logprobs", lambda value: value is False, "probabilities are not known"),
    ("top_logprobs", lambda value: value == 0, "probabilities are not known"),
    ("logit_bias", lambda value: not value, "tokens cannot be weighed"),
    ("modalities", lambda value: value == ["text"], "an answer is text"),
    ("audio", lambda _: False, "an answer is text"),
    ("prediction", lambda _: False, "a prediction is of no use here"),
    ("web_search_options", lambda _: False, "an agent has its own tools"),
)

#: Hints to a model, which has an agent's settings here.
_WITHOUT_EFFECT: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "store",
    "parallel_tool_calls",
)


class Asked(NamedTuple):
    """What is to be published, and how the answer is to be given.

    Attributes:
        session_id: The session.
        text: What the user says.
        message_id: Its id.
        agent: Who answers.
        metadata: Labels.
        max_tokens: Longest output of a model call, where the agent's own limit is not lower.
        without_effect: What the request holds in vain.
    """

    session_id: str
    text: str
    message_id: str
    agent: str
    metadata: dict[str, str]
    max_tokens: int | None
    without_effect: list[str]


def understood(request: Request, body: ChatRequest, gateway: Gateway, tenant: str | None) -> Asked:
    """Return what a request asks for.

    Raises:
        Refusal: 400 or 404 with the field: it cannot be honoured.
        InvalidMessageError: The session id is impossible.
    """
    _check_model(gateway, body.model)
    for name, is_harmless, why in _IMPOSSIBLE:
        value = getattr(body, name)
        if value is not None and not is_harmless(value):
            raise Refusal(400, "unsupported_parameter", f"{name} cannot be honoured: {why}", field=name)
    max_tokens = _max_tokens(body)
    key = idempotency_key(request)
    session_id, named_by = _named_session(request, body)
    earlier = body.messages[:-1]
    if session_id is None:
        _check_fresh(earlier, key)
        session_id = uuid.uuid4().hex
    else:
        session_id = checked_session(session_id, tenant, field=named_by)
    text = _text_of(body.messages[-1])
    check_text(gateway, text, field="messages")
    metadata = {name: value for name, value in (body.metadata or {}).items() if name != _METADATA_SESSION}
    return Asked(session_id, text, key or uuid.uuid4().hex, body.model, metadata, max_tokens, _vain(body, earlier))


def _check_model(gateway: Gateway, model: str) -> None:
    agents = gateway.settings.agents
    if model not in agents:
        text = f"there is no model {model[:64]!r}; the agents are {', '.join(sorted(agents))}"
        raise Refusal(404, "model_not_found", text, field="model")


def _max_tokens(body: ChatRequest) -> int | None:
    """Return the lower of both names' values."""
    given = {"max_tokens": body.max_tokens, "max_completion_tokens": body.max_completion_tokens}
    for name, value in given.items():
        if value is not None and value <= 0:
            raise Refusal(400, "invalid_parameter", f"{name} is {value}, not above 0", field=name)
    return min((value for value in given.values() if value is not None), default=None)


def _named_session(request: Request, body: ChatRequest) -> tuple[str | None, str]:
    """Return the session as the first that names it does, None for a new one; and which field that was."""
    header = request.headers.get(SESSION_HEADER)
    if header is not None:
        return from_header(header), SESSION_HEADER
    labelled = (body.metadata or {}).get(_METADATA_SESSION)
    return (labelled, f"metadata.{_METADATA_SESSION}") if labelled else (body.user or None, "user")


def _check_fresh(earlier: list[ChatMessage], key: str | None) -> None:
    """Refuse what would come out wrong in a session of its own."""
    how = f"name it with the header {SESSION_HEADER}, metadata.session_id or user"
    if any(message.role not in {"system", "developer"} for message in earlier):
        text = f"a conversation is remembered by its session, not by the request: {how}, and send the newest message"
        raise Refusal(400, "session_required", text, field="messages")
    if key is not None:
        text = f"a message is answered once within its session: {how}"
        raise Refusal(400, "session_required", text, field="Idempotency-Key")


def _text_of(message: ChatMessage) -> str:
    if message.role != "user":
        text = f"the last message is to be the user's, not one of role {message.role}"
        raise Refusal(400, "invalid_messages", text, field="messages")
    content = message.content
    if isinstance(content, list):
        for part in content:
            if part.type != "text" or part.text is None:
                text = f"a part of type {part.type[:32]!r} cannot be taken: text alone can"
                raise Refusal(400, "unsupported_content", text, field="messages")
        content = "".join(part.text or "" for part in content)
    if not content or not content.strip():
        raise Refusal(400, "empty_text", "the last message has no text", field="messages")
    return content


def _vain(body: ChatRequest, earlier: list[ChatMessage]) -> list[str]:
    found = [name for name in _WITHOUT_EFFECT if getattr(body, name) is not None]
    return [*found, f"messages[0:{len(earlier)}]"] if earlier else found
