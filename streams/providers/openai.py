"""Any OpenAI-compatible endpoint (OpenAI, vLLM, Ollama, llama.cpp), streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import msgspec
from pydantic import SecretStr

from schemas.errors import ProviderError, ProviderUnavailableError, SettingsError
from streams.providers.call_parts import CallParts
from streams.providers.endpoint import Endpoint
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest, ModelUsage, Timeouts

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_DONE = b"[DONE]"


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class OpenAIProvider:
    """``POST {base_url}/chat/completions`` with ``stream``; without a key no ``Authorization`` is sent.

    An endpoint that refuses before it answers is asked three times in all (see ``Endpoint.events``).
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        api_key: SecretStr | None = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        base_url = base_url or DEFAULT_BASE_URL
        headers = {} if api_key is None else {"Authorization": "Bearer {key}"}
        self._model = model
        self._endpoint = Endpoint(
            self.name, base_url, field="OPENAI_BASE_URL", key=api_key, headers=headers, timeouts=timeouts or Timeouts()
        )
        is_openai = self._endpoint.url.host == "api.openai.com"
        if is_openai and api_key is None:
            raise SettingsError(
                "OPENAI_API_KEY: not set; set it, or set OPENAI_BASE_URL to an endpoint that needs no key, "
                "or BARNABAS_MODEL to local"
            )
        # OpenAI's newer models refuse ``max_tokens``; most compatible servers know nothing else.
        self._limit_field = "max_completion_tokens" if is_openai else "max_tokens"

    async def warm(self) -> None:
        """Open a connection with ``GET /models``; a wrong key shows here, as ``ProviderError``."""
        await self._endpoint.warm("/models")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Stream the first choice; errors as in ``Provider.stream``."""
        finish_reason: str | None = None
        usage: ModelUsage | None = None
        is_done = False
        calls = CallParts()
        events = self._endpoint.events("/chat/completions", self._body(request), is_last=_DONE.__eq__)
        async with aclosing(events):
            async for event in events:
                if event == _DONE:
                    is_done = True
                    if finish_reason is not None:
                        yield ModelDelta("", finish_reason, usage, calls.joined())
                    continue
                chunk = self._chunk(event)
                if chunk.usage is not None:
                    usage = ModelUsage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                if not chunk.choices:
                    continue
                choice = chunk.choices[0]
                if choice.finish_reason is not None:
                    finish_reason = choice.finish_reason
                delta = choice.delta or _Delta()
                _collect(calls, delta.tool_calls or ())
                if delta.content:
                    yield ModelDelta(delta.content)
        if finish_reason is None:
            raise ProviderUnavailableError("openai: the answer broke off without a finish reason")
        if not is_done:  # some servers just end the body
            yield ModelDelta("", finish_reason, usage, calls.joined())

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model or self._model,
            "messages": [_message(message) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.max_tokens is not None:
            body[self._limit_field] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = request.stop
        if request.tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in request.tools]
        return body

    def _chunk(self, event: bytes) -> _Chunk:
        try:
            chunk = _decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderError(f"openai: the endpoint sent a malformed event: {error}") from error
        if chunk.error is not None:
            raise self._endpoint.stream_error(chunk.error)
        return chunk


def _collect(calls: CallParts, parts: Iterable[_ToolCall]) -> None:
    for part in parts:
        function = part.function or _Function()
        calls.add(part.index, call_id=part.id, name=function.name, arguments=function.arguments)


def _message(message: ChatMessage) -> ChatMessage | dict[str, Any]:
    if not message.tool_calls:
        return message
    calls = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}
