"""What the OpenAI-compatible interface refuses, before anything is published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabas.client import Client
from barnabas.gateway.app import make_app
from barnabas.settings import AgentSettings, Settings
from schemas.commands import UserMessage
from schemas.errors import BrokerError

_USER = {"role": "user", "content": "hello"}
_ASSISTANT = {"role": "assistant", "content": "hi"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a gateway with two agents, which is not connected: what is published is a 503."""
    agents = {"assistant": AgentSettings(), "brief": AgentSettings(max_tokens=50)}
    app = make_app(Settings(data_dir=tmp_path, agents=agents))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as opened:
        yield opened


async def ask(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any) -> tuple[int, Any, Any]:
    """Return status, code and field of a request's refusal."""
    body = {"model": "assistant", "messages": [_USER], **fields}
    answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


#: Nothing is wrong with the request: it would be published.
_TAKEN = (503, "client", None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"n": 2}, (400, "unsupported_parameter", "n")),
        ({"tools": [{"type": "function"}]}, (400, "unsupported_parameter", "tools")),
        ({"tool_choice": "required"}, (400, "unsupported_parameter", "tool_choice")),
        ({"response_format": {"type": "json_object"}}, (400, "unsupported_parameter", "response_format")),
        ({"stop": ["."]}, (400, "unsupported_parameter", "stop")),
        ({"logprobs": True}, (400, "unsupported_parameter", "logprobs")),
        ({"max_tokens": 0}, (400, "invalid_parameter", "max_tokens")),
        ({"max_completion_tokens": -1}, (400, "invalid_parameter", "max_completion_tokens")),
        ({"model": "gpt-4o"}, (404, "model_not_found", "model")),
        ({"messages": []}, (400, "invalid_body", "messages")),
        ({"messages": [{"role": "user", "content": 1}]}, (400, "invalid_body", "messages[0].content")),
        (
            {"messages": [_USER, {"role": "assistant", "content": "x"}], "user": "ada"},
            (400, "invalid_messages", "messages"),
        ),
        ({"messages": [{"role": "user", "content": " "}]}, (400, "empty_text", "messages")),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            (400, "unsupported_content", "messages"),
        ),
        ({"messages": [_USER, _USER]}, (400, "session_required", "messages")),
        ({"user": "a/b"}, (422, "invalid_session_id", "user")),
        ({"metadata": {"session_id": "a/b"}, "user": "ada"}, (422, "invalid_session_id", "metadata.session_id")),
        ({"user": "a\nb"}, (422, "invalid_session_id", "user")),
        ({"user": "a" * 129}, (422, "invalid_session_id", "user")),
        ({"model": None}, (400, "invalid_body", "model")),
    ],
)
async def test_impossible_request_is_refused_by_field(
    client: httpx.AsyncClient, fields: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    """What a program relies on is not dropped silently."""
    assert await ask(client, **fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "tools": [], "response_format": {"type": "text"}, "stop": None, "logprobs": False},
        {"temperature": 0.1, "top_p": 1, "seed": 7, "something_new": {"a": 1}},
        {"model": "brief", "max_tokens": 50},
        {"messages": [{"role": "system", "content": "be brief"}, _USER]},
        {"messages": [_USER, _ASSISTANT, _USER], "user": "ada"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"metadata": {"session_id": "ada", "label": "x"}},
    ],
)
async def test_possible_request_is_taken(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    """Hints without effect, and what the session remembers, do no harm."""
    assert await ask(client, **fields) == _TAKEN


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 60}, {"max_tokens": 60}),  # the worker knows the agent's own limit
        ({"max_completion_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 20, "max_completion_tokens": 10}, {"max_tokens": 10}),
    ],
)
async def test_length_is_the_message_s_own_limit(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, fields: dict[str, int], expected: dict[str, int]
) -> None:
    """It is published with the message. Seen to fail with the field left out of the message."""
    published: list[UserMessage] = []

    async def publish(_client: Client, _key: bytes, command: UserMessage) -> None:
        published.append(command)
        raise BrokerError("away")

    monkeypatch.setattr(Client, "_publish", publish)
    assert (await ask(client, model="brief", **fields))[0] == 503
    assert [command.limits for command in published] == [expected]


async def test_idempotency_key_without_a_session_is_refused(client: httpx.AsyncClient) -> None:
    """Each try would be a session of its own, and answered."""
    key = {"Idempotency-Key": "k"}
    assert await ask(client, key) == (400, "session_required", "Idempotency-Key")
    assert await ask(client, {**key, "X-Session-Id": "ada"}) == _TAKEN
    assert await ask(client, {"Idempotency-Key": "k" * 257, "X-Session-Id": "ada"}) == (
        422,
        "invalid_message_id",
        "Idempotency-Key",
    )


@pytest.mark.parametrize(
    ("content", "media", "expected"),
    [
        (b"{", "application/json", (400, "malformed_json")),
        (b"\xff", "application/json", (400, "malformed_json")),
        (b"{}", "text/plain", (415, "unsupported_media_type")),
        (b"{}", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b" " * 1_000_001, "application/json", (413, "body_too_large")),
    ],
)
async def test_body_that_is_none_is_refused(
    client: httpx.AsyncClient, content: bytes, media: str, expected: tuple[int, str]
) -> None:
    """A form is what a browser sends to another origin without asking."""
    answer = await client.post("/v1/chat/completions", content=content, headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["error"]["code"]) == expected


async def test_models_are_the_agents(client: httpx.AsyncClient) -> None:
    """By name; another is not found."""
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["assistant", "brief"]
    assert (await client.get("/v1/models/brief")).json()["id"] == "brief"
    answer = await client.get("/v1/models/other")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
