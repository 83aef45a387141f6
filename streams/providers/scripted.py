"""The scripted provider: what each user text is answered with is written down beforehand. For tests."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from schemas.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError, SettingsError
from schemas.events import ToolCall
from streams.monitoring.turn_context import turn_fields
from streams.providers.echo import split_words
from streams.providers.protocol import ChatMessage, ModelDelta, ModelUsage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from streams.providers.protocol import ModelRequest


class ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error raised instead of going on, after ``after_chunks`` chunks."""

    kind: Literal["refused", "unavailable", "timeout"] = "unavailable"
    message: str = "scripted failure"
    after_chunks: int = 0
    retry_after: float | None = None


class ScriptedToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that the model asks for."""

    name: str
    arguments: dict[str, Any] = {}


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one text is answered; durations in seconds.

    ``reply`` is a text, sent word by word, or a list of exact chunks; empty: an empty answer. In it
    ``{user}`` becomes the user's text and ``{prompts}`` the number of messages in the prompt, which
    shows from outside how much memory the call carried; ``{results}`` what the tools returned.
    """

    reply: str | tuple[str, ...] = "You said: {user} [{prompts} messages]"
    first_delay_s: float = 0.0
    between_delay_s: float = 0.0
    hang_after: int | None = None
    """Send that many chunks, then nothing for ever."""
    error: ScriptedError | None = None
    tools: tuple[tuple[ScriptedToolCall, ...], ...] = ()
    """What the first calls of a turn ask for, a call each; the one behind them gives the reply, the error or hangs."""
    before_tools: str = ""
    """What a call says that asks for tools."""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Behaviours by user text; a key that ends in ``*`` is a prefix, the longest that fits wins."""

    replies: dict[str, Behaviour] = {}
    default: Behaviour = Behaviour()
    calls_path: str | None = None

    def behaviour(self, text: str) -> Behaviour:
        """The behaviour for exactly ``text``, else by prefix, else the default."""
        exact = self.replies.get(text)
        if exact is not None:
            return exact
        prefixes = [key for key in self.replies if key.endswith("*") and text.startswith(key[:-1])]
        return self.replies[max(prefixes, key=len)] if prefixes else self.default


class ScriptedCall(msgspec.Struct, frozen=True):
    """One line of the calls file; ``time`` in Unix seconds, ``epoch`` that of the partition's owner who made it."""

    session_id: str | None
    turn_id: str | None
    messages: tuple[ChatMessage, ...]
    time: float
    pid: int
    epoch: int = -1


def load_script(path: Path) -> Script:
    """Read a JSON file, or YAML by its name; ``SettingsError`` when it is missing or no script."""
    try:
        content = path.read_bytes()
        if path.suffix in {".yaml", ".yml"}:
            return msgspec.yaml.decode(content, type=Script)
        return msgspec.json.decode(content, type=Script)
    except OSError as error:
        message = f"BARNABAS_MODEL: the script {path} cannot be read: {error.strerror}"
        raise SettingsError(message) from error
    except msgspec.MsgspecError as error:
        message = f"BARNABAS_MODEL: {path} is no script: {error}"
        raise SettingsError(message) from error


def read_calls(path: Path) -> list[ScriptedCall]:
    """Every call recorded so far, by any process, in order; a file not there yet is empty."""
    if not path.exists():
        return []
    return msgspec.json.Decoder(ScriptedCall).decode_lines(path.read_bytes())


class ScriptedProvider:
    """Does what its script says, and appends each call to ``calls_path`` before answering it.

    Several processes may share the file: a line is one ``write`` to a descriptor opened ``O_APPEND``,
    so it survives a SIGKILL right after it and lines never mix.
    """

    name = "scripted"

    def __init__(self, script: Script | None = None, *, calls_path: Path | None = None) -> None:
        self._script = script or Script()
        if calls_path is None and self._script.calls_path is not None:
            calls_path = Path(self._script.calls_path)
        self._calls_path = calls_path

    async def warm(self) -> None:
        """Nothing to load: the script was read when the provider was created."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Yield the scripted chunks, then a last, empty delta with ``stop`` and the usage in chunks."""
        self._record(request)
        text = request.user_text
        behaviour = self._script.behaviour(text)
        step = sum(bool(message.tool_calls) for message in request.messages)
        calls = behaviour.tools[step] if step < len(behaviour.tools) else ()
        chunks = _chunks(behaviour.before_tools if calls else behaviour.reply, request)
        error, hang_after = (None, None) if calls else (behaviour.error, behaviour.hang_after)
        await asyncio.sleep(behaviour.first_delay_s)
        for index in range(len(chunks) + 1):
            _raise_if_due(error, index, is_last=index == len(chunks))
            if hang_after is not None and index >= min(hang_after, len(chunks)):
                await asyncio.get_running_loop().create_future()
            if index == len(chunks):
                break
            if index and behaviour.between_delay_s:
                await asyncio.sleep(behaviour.between_delay_s)
            yield ModelDelta(chunks[index])
        yield ModelDelta(
            "",
            "tool_calls" if calls else "stop",
            ModelUsage(len(request.messages), len(chunks)),
            tuple(
                ToolCall(
                    call_id=f"call-{step}-{number}",
                    name=call.name,
                    arguments=msgspec.json.encode(call.arguments).decode(),
                )
                for number, call in enumerate(calls)
            ),
        )

    async def close(self) -> None:
        """Nothing to release."""

    def _record(self, request: ModelRequest) -> None:
        if self._calls_path is None:
            return
        epoch = turn_fields().get("epoch", -1)
        call = ScriptedCall(request.session_id, request.turn_id, request.messages, time.time(), os.getpid(), epoch)
        descriptor = os.open(self._calls_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(call) + b"\n")
        finally:
            os.close(descriptor)


def _chunks(reply: str | tuple[str, ...], request: ModelRequest) -> list[str]:
    template = split_words(reply) if isinstance(reply, str) else list(reply)
    values = {
        "{prompts}": str(len(request.messages)),
        "{user}": request.user_text,
        "{results}": ", ".join(message.content for message in request.messages if message.role == "tool"),
    }
    chunks = []
    for piece in template:
        chunk = piece
        for name, value in values.items():
            chunk = chunk.replace(name, value)
        chunks.append(chunk)
    return chunks


def _raise_if_due(error: ScriptedError | None, index: int, *, is_last: bool) -> None:
    if error is None or (index < error.after_chunks and not is_last):
        return
    match error.kind:
        case "refused":
            raise ProviderError(error.message)
        case "timeout":
            raise ProviderTimeoutError("connect", error.retry_after or 0.0)
        case "unavailable":
            raise ProviderUnavailableError(error.message, retry_after=error.retry_after)
