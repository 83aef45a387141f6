"""Anthropic's Messages API, streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from pydantic import SecretStr

from schemas.errors import ProviderError, ProviderUnavailableError
from streams.providers.call_parts import CallParts
from streams.providers.endpoint import Endpoint
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest, ModelUsage, Timeouts

DEFAULT_BASE_URL = "https://api.anthropic.com"
_VERSION = "2023-06-01"
_MAX_TOKENS = 4096
"""The API wants a limit; 4,096 tokens are what the total time-out of 120 s leaves room for."""
_FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
_REFUSED = frozenset({"invalid_request_error", "authentication_error", "permission_error", "not_found_error"})


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _Block(msgspec.Struct, gc=False):
    type: str
    id: str | None = None
    name: str | None = None


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    index: int | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class AnthropicProvider:
    """``POST {base_url}/v1/messages`` with ``stream``; retried like ``OpenAIProvider``."""

    name = "anthropic"

    def __init__(
        self, model: str, *, api_key: SecretStr, base_url: str | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self._model = model
        self._endpoint = Endpoint(
            self.name,
            (base_url or DEFAULT_BASE_URL).rstrip("/").removesuffix("/v1"),
            field="ANTHROPIC_BASE_URL",
            key=api_key,
            headers={"x-api-key": "{key}", "anthropic-version": _VERSION},
            timeouts=timeouts or Timeouts(),
        )

    async def warm(self) -> None:
        """Open a connection with ``GET /v1/models``; a wrong key shows here, as ``ProviderError``."""
        await self._endpoint.warm("/v1/models")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Stream the text; finish reasons are given OpenAI's names. Errors as in ``Provider.stream``."""
        finish_reason: str | None = None
        prompt_tokens = completion_tokens = 0
        is_done = False
        calls = CallParts()
        events = self._endpoint.events("/v1/messages", self._body(request), is_last=_is_last)
        async with aclosing(events):
            async for data in events:
                event = self._event(data)
                delta = event.delta
                usage = event.usage or (event.message.usage if event.message is not None else None)
                if usage is not None:
                    prompt_tokens = usage.input_tokens or prompt_tokens
                    completion_tokens = usage.output_tokens or completion_tokens
                if delta is not None and delta.stop_reason is not None:
                    finish_reason = _FINISH_REASONS.get(delta.stop_reason, delta.stop_reason)
                block = event.content_block
                if block is not None and block.type == "tool_use":
                    calls.add(event.index, call_id=block.id, name=block.name, arguments=None)
                elif delta is not None and delta.partial_json and event.index is not None:
                    calls.add(event.index, call_id=None, name=None, arguments=delta.partial_json)
                elif delta is not None and delta.text and event.type == "content_block_delta":
                    yield ModelDelta(delta.text)
                elif event.type == "message_stop" and finish_reason is not None:
                    is_done = True
                    yield ModelDelta("", finish_reason, ModelUsage(prompt_tokens, completion_tokens), calls.joined())
        if not is_done:
            raise ProviderUnavailableError("anthropic: the answer broke off before its end")

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        body: dict[str, Any] = {
            "model": request.model or self._model,
            "max_tokens": request.max_tokens or _MAX_TOKENS,
            "messages": _messages(request.messages),
            "stream": True,
        }
        if system:
            body["system"] = system
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop_sequences"] = request.stop
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
                for tool in request.tools
            ]
        return body

    def _event(self, data: bytes) -> _Event:
        try:
            event = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(f"anthropic: the endpoint sent a malformed event: {error}") from error
        if event.type == "error":
            is_refusal = isinstance(event.error, dict) and event.error.get("type") in _REFUSED
            detail = {**event.error, "code": 400} if is_refusal else event.error
            raise self._endpoint.stream_error(detail)
        return event


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Put a prompt into this API's form: results of tools are what the user says, those of one step together."""
    sent: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.tool_call_id is not None:
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            if sent and isinstance(sent[-1]["content"], list) and sent[-1]["role"] == "user":
                sent[-1]["content"].append(result)
            else:
                sent.append({"role": "user", "content": [result]})
        elif message.tool_calls:
            sent.append({"role": "assistant", "content": _blocks(message)})
        else:
            role = "assistant" if message.role == "assistant" else "user"
            sent.append({"role": role, "content": message.content})
    return sent


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": message.content}] if message.content.strip() else []  # it refuses empty ones
    calls = [
        {"type": "tool_use", "id": call.call_id, "name": call.name, "input": _input(call.arguments)}
        for call in message.tool_calls
    ]
    return [*text, *calls]


def _input(arguments: str) -> dict[str, Any]:
    """Return the arguments as the object that the API wants; the model's own malformed ones as a text in one."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"arguments": arguments}


def _is_last(data: bytes) -> bool:
    return b'"message_stop"' in data
