"""The OpenAI and Anthropic providers against a real server that misbehaves on purpose."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Literal

import pytest
from pydantic import SecretStr

from schemas.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError
from streams.providers import (
    ChatMessage,
    ModelDelta,
    ModelRequest,
    ModelUsage,
    Provider,
    ProviderOptions,
    Timeouts,
    bounded,
    create_provider,
)
from tests.support.model_server import STALL_AFTER, Mode, ModelServer

KEY = "sk-very-secret"
Kind = Literal["openai", "anthropic"]
KINDS: tuple[Kind, ...] = ("openai", "anthropic")
SHORT = Timeouts(first_token_s=0.3, between_tokens_s=0.3)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A model endpoint on loopback."""
    async with ModelServer().running() as server:
        yield server


@pytest.fixture(params=KINDS)
async def provider(request: pytest.FixtureRequest, server: ModelServer) -> AsyncIterator[Provider]:
    """Both HTTP providers in turn, on that endpoint."""
    provider = _create(request.param, server.url)
    yield provider
    await provider.close()


def _create(kind: Kind, url: str, *, connect_s: float = 5.0) -> Provider:
    options = ProviderOptions(
        openai_api_key=SecretStr(KEY),
        openai_base_url=f"{url}/v1",
        anthropic_api_key=SecretStr(KEY),
        anthropic_base_url=url,
        timeouts=Timeouts(connect_s=connect_s),
    )
    return create_provider(f"{kind}:fake", options)


async def _ask(provider: Provider, text: str, timeouts: Timeouts = SHORT, seen: list[ModelDelta] | None = None) -> str:
    seen = [] if seen is None else seen
    request = ModelRequest(messages=(ChatMessage("system", "be kind"), ChatMessage("user", text)), max_tokens=9)
    async with aclosing(bounded(provider.stream(request), timeouts)) as stream:
        async for delta in stream:
            seen.append(delta)
    return "".join(delta.text for delta in seen)


async def test_stream_normal_gives_text_usage_and_finish_reason(provider: Provider) -> None:
    """Every token is a delta of its own; the last delta carries the rest."""
    seen: list[ModelDelta] = []
    assert await _ask(provider, "normal", seen=seen) == "t0 t1 t2 t3 t4"
    assert len(seen) == 6
    assert seen[-1] == ModelDelta("", "stop", ModelUsage(7, 5))


async def test_stream_request_carries_the_prompt_and_the_key(server: ModelServer, provider: Provider) -> None:
    """What goes over the wire is each API's own form; ids for the logs stay here."""
    request = ModelRequest(
        messages=(ChatMessage("system", "be kind"), ChatMessage("user", "hi"), ChatMessage("assistant", "yes")),
        model="other",
        max_tokens=3,
        temperature=0.5,
        stop=("END",),
        session_id="s-secret",
    )
    async for _ in bounded(provider.stream(request), SHORT):
        pass
    body, headers = server.bodies[0], server.headers[0]
    dialogue = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("other", 3, 0.5, True)
    if provider.name == "openai":
        assert body["messages"] == [{"role": "system", "content": "be kind"}, *dialogue]
        assert body["stream_options"] == {"include_usage": True}
        assert body["stop"] == ["END"]
        assert headers["Authorization"] == f"Bearer {KEY}"
    else:
        assert (body["system"], body["messages"], body["stop_sequences"]) == ("be kind", dialogue, ["END"])
        assert headers["x-api-key"] == KEY
    assert "s-secret" not in str(body)


async def test_stream_second_call_uses_the_first_ones_connection(server: ModelServer, provider: Provider) -> None:
    """A finished answer leaves its connection open, and so does warming: no handshake before a token."""
    await provider.warm()
    server.end_delay_s = 0.01
    for _ in range(3):
        await _ask(provider, "normal")
    assert len(server.peers) == 1


async def test_stream_body_that_never_ends_does_not_hold_the_answer(server: ModelServer, provider: Provider) -> None:
    """The last event ends the answer, whatever the endpoint does with the connection."""
    server.end_delay_s = 60
    assert await _ask(provider, "normal") == "t0 t1 t2 t3 t4"


async def test_stream_many_at_once_are_all_answered(server: ModelServer, provider: Provider) -> None:
    """The session has no connection limit of its own: 300 turns do not wait for 100 connections."""
    server.delay_s = 0.01
    answers = await asyncio.gather(*(_ask(provider, "normal", Timeouts()) for _ in range(300)))
    assert set(answers) == {"t0 t1 t2 t3 t4"}
    assert len(server.peers) > 100


@pytest.mark.parametrize("mode", ["unauthorized", "bad_request", "no_stream"])
async def test_stream_refused_is_terminal_with_the_endpoints_words(
    server: ModelServer, provider: Provider, mode: Mode
) -> None:
    """A refusal is not repeated, and the key is not quoted even where the endpoint quotes it."""
    with pytest.raises(ProviderError) as caught:
        await _ask(provider, mode)
    words = {"unauthorized": "401 incorrect API key", "bad_request": "400 no such model", "no_stream": "event stream"}
    assert words[mode] in str(caught.value)
    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(provider))
    assert len(server.bodies) == 1


async def test_stream_throttled_carries_retry_after_and_does_not_wait(server: ModelServer, provider: Provider) -> None:
    """Seven seconds are too long to wait inside a turn: the caller is told instead."""
    with pytest.raises(ProviderUnavailableError, match="429 too many requests") as caught:
        await _ask(provider, "rate_limited")
    assert caught.value.retry_after == 7
    assert len(server.bodies) == 1


async def test_stream_server_error_is_tried_three_times(server: ModelServer, provider: Provider) -> None:
    """A lasting 500 is retryable later, not for ever now."""
    with pytest.raises(ProviderUnavailableError, match="500 internal error") as caught:
        await _ask(provider, "server_error", Timeouts())
    assert caught.value.retry_after is None
    assert len(server.bodies) == 3


async def test_stream_server_error_that_passes_is_not_seen(server: ModelServer, provider: Provider) -> None:
    """Two failures before the first delta cost time, not the turn."""
    assert await _ask(provider, "flaky", Timeouts()) == "t0 t1 t2 t3 t4"
    assert len(server.bodies) == 3


async def test_stream_retries_count_inside_the_limits(server: ModelServer, provider: Provider) -> None:
    """Waiting between attempts is waiting for the first token."""
    with pytest.raises((ProviderTimeoutError, ProviderUnavailableError)):
        await _ask(provider, "server_error", Timeouts(first_token_s=0.01))
    assert len(server.bodies) < 3


@pytest.mark.parametrize("mode", ["disconnect", "truncated", "error_event"])
async def test_stream_broken_off_is_retryable_and_not_repeated(
    server: ModelServer, provider: Provider, mode: Mode
) -> None:
    """After the first delta nothing is tried again here: the tokens are out already."""
    seen: list[ModelDelta] = []
    with pytest.raises(ProviderUnavailableError, match=r"broke off|overloaded"):
        await _ask(provider, mode, seen=seen)
    assert len([delta for delta in seen if delta.text]) == (server.tokens if mode == "truncated" else STALL_AFTER)
    assert all(delta.finish_reason is None for delta in seen)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("mode", "words"), [("empty", "empty"), ("malformed", "malformed event")])
async def test_stream_useless_answer_is_terminal(provider: Provider, mode: Mode, words: str) -> None:
    """No text, or no JSON, is no answer."""
    with pytest.raises(ProviderError, match=words):
        await _ask(provider, mode)


@pytest.mark.parametrize(("mode", "limit"), [("slow_first", "first_token"), ("stall", "between_tokens")])
async def test_stream_silent_endpoint_times_out_and_is_left(
    server: ModelServer, provider: Provider, mode: Mode, limit: str
) -> None:
    """The connection is closed with the call, so that the endpoint stops generating."""
    with pytest.raises(ProviderTimeoutError) as caught:
        await _ask(provider, mode)
    assert caught.value.limit == limit
    await asyncio.wait_for(server.left.wait(), 5)


async def test_stream_cancelled_turn_closes_its_connection(server: ModelServer, provider: Provider) -> None:
    """A user's cancel reaches the endpoint."""
    task = asyncio.create_task(_ask(provider, "stall", Timeouts()))
    await asyncio.wait_for(server.stalled.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.left.wait(), 5)


async def test_warm_wrong_key_is_refused_and_missing_models_page_is_not(
    server: ModelServer, provider: Provider
) -> None:
    """A worker with a wrong key is not ready; an endpoint without ``/models`` is."""
    server.mode = "unauthorized"
    with pytest.raises(ProviderError, match="401"):
        await provider.warm()
    for kind in KINDS:
        elsewhere = _create(kind, f"{server.url}/nowhere")
        await elsewhere.warm()
        await elsewhere.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", ["warm", "stream"])
async def test_connection_refused_is_retryable(kind: Kind, use: str) -> None:
    """Nobody listens: the error names the host."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's meanwhile
        provider = _create(kind, f"http://127.0.0.1:{taken.getsockname()[1]}")
        calls: dict[str, Callable[[], object]] = {
            "warm": provider.warm,
            "stream": lambda: _ask(provider, "x", Timeouts()),
        }
        with pytest.raises(ProviderUnavailableError, match=r"127\.0\.0\.1 cannot be reached"):
            await calls[use]()  # type: ignore[misc] # both give awaitables
        await provider.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_connect_that_is_never_answered_times_out(kind: Kind) -> None:
    """A full backlog drops the SYN, like a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.settimeout(0)
            client.connect_ex(full.getsockname())
        provider = _create(kind, f"http://127.0.0.1:{full.getsockname()[1]}", connect_s=0.3)
        with pytest.raises(ProviderTimeoutError) as caught:
            await _ask(provider, "x", Timeouts())
        await provider.close()
    assert (caught.value.limit, caught.value.seconds) == ("connect", 0.3)
