"""Tool calls on the wire of both HTTP providers: what is sent, and what is read from streamed parts."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from schemas.events import ToolCall
from streams.providers.anthropic import AnthropicProvider
from streams.providers.openai import OpenAIProvider
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest, ToolSpec

CALLS = (
    ToolCall(call_id="a", name="search", arguments='{"q": "x"}'),
    ToolCall(call_id="b", name="search", arguments='{"q": "y"}'),
)
REQUEST = ModelRequest(
    messages=(
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Find x and y."),
        ChatMessage("assistant", "", tool_calls=CALLS),
        ChatMessage("tool", "X", tool_call_id="a"),
        ChatMessage("tool", "Y", tool_call_id="b"),
    ),
    tools=(ToolSpec(name="search", description="Searches.", parameters={"type": "object"}),),
)


async def _deltas(provider: Any, events: list[dict[str, Any] | str]) -> tuple[list[ModelDelta], Any]:
    sent: list[Any] = []

    async def stream(_path: str, body: Any, *, is_last: Any) -> AsyncGenerator[bytes, None]:
        sent.append(json.loads(msgspec.json.encode(body)))
        for event in events:
            yield event.encode() if isinstance(event, str) else json.dumps(event).encode()

    provider._endpoint.events = stream
    deltas = [delta async for delta in provider.stream(REQUEST)]
    await provider.close()
    return deltas, sent[0]


def _openai(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": list(calls)}}]}


@pytest.mark.parametrize(
    "parts",
    [
        [
            _openai({"index": 0, "id": "a", "function": {"name": "search", "arguments": ""}}),
            _openai({"index": 0, "function": {"arguments": '{"q": '}}),
            _openai({"index": 0, "function": {"arguments": '"x"}'}}),
            _openai({"index": 1, "id": "b", "function": {"name": "search", "arguments": '{"q": "y"}'}}),
        ],
        [_openai(*({"id": c.call_id, "function": {"name": c.name, "arguments": c.arguments}} for c in CALLS))],
    ],
    ids=["in-parts", "whole-without-index"],
)
async def test_openai_calls(parts: list[dict[str, Any]]) -> None:
    """Arguments come in pieces or whole; the last delta has the calls."""
    end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
    provider = OpenAIProvider("m", base_url="http://127.0.0.1:1/v1")
    deltas, body = await _deltas(provider, [*parts, end, "[DONE]"])
    assert [(delta.finish_reason, delta.tool_calls) for delta in deltas] == [("tool_calls", CALLS)]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "search", "description": "Searches.", "parameters": {"type": "object"}},
        }
    ]
    assert body["messages"][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}},
            {"id": "b", "type": "function", "function": {"name": "search", "arguments": '{"q": "y"}'}},
        ],
    }
    assert body["messages"][3] == {"role": "tool", "content": "X", "tool_call_id": "a"}


async def test_anthropic_calls() -> None:
    """Blocks of two calls behind a block of text; both results go back in one message of the user's."""
    events: list[dict[str, Any] | str] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I look."}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "search"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"q": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"x"}'}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "b", "name": "search"}},
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"q": "y"}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    deltas, body = await _deltas(AnthropicProvider("m", api_key=SecretStr("k")), events)
    assert [delta.text for delta in deltas] == ["I look.", ""]
    assert deltas[-1].tool_calls == CALLS
    assert deltas[-1].finish_reason == "tool_calls"
    assert body["tools"] == [{"name": "search", "description": "Searches.", "input_schema": {"type": "object"}}]
    assert body["system"] == "Be brief."
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "search", "input": {"q": "x"}},
                {"type": "tool_use", "id": "b", "name": "search", "input": {"q": "y"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "X"},
                {"type": "tool_result", "tool_use_id": "b", "content": "Y"},
            ],
        },
    ]


async def test_anthropic_malformed_arguments_go_back_as_an_object() -> None:
    """The API wants an object; what the model wrote is not lost."""
    from streams.providers.anthropic import _input

    assert _input("{broken") == {"arguments": "{broken"}
