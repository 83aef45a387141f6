"""What every provider must do alike; the built-in model is the real one, and nothing rests on its words."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pydantic import SecretStr

from schemas.errors import ProviderUnavailableError
from streams.providers import (
    ChatMessage,
    ModelDelta,
    ModelRequest,
    Provider,
    ProviderOptions,
    Timeouts,
    bounded,
    create_provider,
)
from tests.support.model_server import ModelServer

MODELS = [
    "echo",
    "echo:40",
    "scripted",
    "openai:fake",
    "anthropic:fake",
    pytest.param("local", marks=pytest.mark.model),
]
# Nothing here is about speed, and a test machine may be busy.
PATIENT = Timeouts(first_token_s=100, between_tokens_s=100, total_s=100)
REQUEST = ModelRequest(
    messages=(ChatMessage("system", "Answer at length."), ChatMessage("user", "Tell me about the sea and its ships.")),
    max_tokens=40,
)


@pytest.fixture(params=MODELS)
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    """Each provider in turn, warmed; after closing it nothing of it may be left."""
    async with ModelServer(tokens=40).running() as server:
        options = ProviderOptions(
            openai_base_url=f"{server.url}/v1",
            anthropic_api_key=SecretStr("k"),
            anthropic_base_url=server.url,
        )
        provider = create_provider(request.param, options)
        await provider.warm()
        yield provider
        await provider.close()
    assert asyncio.all_tasks() <= {asyncio.current_task()}
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("barnabas")]


async def _read(provider: Provider, request: ModelRequest = REQUEST) -> list[ModelDelta]:
    return [delta async for delta in bounded(provider.stream(request), PATIENT)]


async def test_stream_comes_in_pieces_and_ends_once(provider: Provider) -> None:
    """Several deltas with text; the last delta, and no other, has the finish reason and the usage."""
    deltas = await _read(provider)
    assert len([delta for delta in deltas if delta.text]) > 1
    assert all(delta.text for delta in deltas[:-1])
    assert all(delta.finish_reason is None and delta.usage is None for delta in deltas[:-1])
    assert deltas[-1].finish_reason in {"stop", "length"}
    usage = deltas[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 1


async def test_stream_twice_at_once_answers_both(provider: Provider) -> None:
    """Streams share a provider."""
    for deltas in await asyncio.gather(_read(provider), _read(provider)):
        assert deltas[-1].finish_reason is not None


async def test_stream_closed_early_leaves_the_provider_usable(provider: Provider) -> None:
    """A reader that stops after one delta does not spoil the next call."""
    async with aclosing(bounded(provider.stream(REQUEST), PATIENT)) as stream:
        assert (await anext(stream)).text
    assert (await _read(provider))[-1].finish_reason is not None


async def test_stream_cancelled_leaves_the_provider_usable(provider: Provider) -> None:
    """Nor does a cancelled turn."""
    has_started = asyncio.Event()

    async def read() -> None:
        async with aclosing(bounded(provider.stream(REQUEST), PATIENT)) as stream:
            async for _ in stream:
                has_started.set()
                await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(read())
    await asyncio.wait_for(has_started.wait(), 100)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await _read(provider))[-1].finish_reason is not None


async def test_warm_and_close_can_be_repeated(provider: Provider) -> None:
    """Start and stop need not keep count."""
    await provider.warm()
    await provider.close()
    await provider.close()


async def test_stream_after_close_opens_nothing_again(provider: Provider) -> None:
    """A turn that comes too late ends; it leaves no second model, session or thread behind."""
    await provider.close()
    try:
        await _read(provider)
    except ProviderUnavailableError as error:
        assert "closed" in str(error)  # noqa: PT017 -- echo and scripted hold nothing, and answer
    else:
        assert provider.name in {"echo", "scripted"}
