"""One answer as the server-sent events of OpenAI's streaming interface."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from barnabas.client import Part, Sent, TokenStream
from barnabas.client.client import turn_error
from barnabas.gateway.append_only import AppendOnly
from barnabas.gateway.connection_guard import abort
from barnabas.gateway.gateway import Gateway
from barnabas.gateway.openai_types import CompletionUsage, FinishReason
from barnabas.gateway.problems import Refusal, error_of, problem_of
from schemas.errors import AnswerTimeoutError, BarnabasError
from schemas.events import Usage
from schemas.tokens import TokenKind

KIND: Final = "completion"

_DONE: Final = b"data: [DONE]\n\n"
_BEAT: Final = b": still there\n\n"
_FINISHED: Final[Mapping[str, FinishReason]] = {"length": "length", "content_filter": "content_filter"}

_encode: Final = msgspec.json.Encoder().encode


class Frames:
    """The chunks of one completion; what is the same in all of them is written once.

    Args:
        completion_id: Its id.
        created: Unix seconds.
        model: The agent.
        with_usage: Whether a last chunk says what was used.
    """

    def __init__(self, completion_id: str, created: int, model: str, *, with_usage: bool) -> None:
        head = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + _encode(head)[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"
        self._delta = self._head + b',"choices":[{"index":0,"delta":{"content":'
        self._delta_end = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        self._with_usage = with_usage

    def first(self) -> bytes:
        """Who speaks."""
        delta = b',"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
        return self._head + delta + b'"logprobs":null,"finish_reason":null}]' + self._tail

    def text(self, text: str) -> bytes:
        """A piece of the answer."""
        return self._delta + _encode(text) + self._delta_end

    def last(self, finish_reason: str, usage: CompletionUsage) -> bytes:
        """Why it ended, what was used if that was asked for, and the end."""
        reason = _encode(finish_reason)
        end = self._head + b',"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":' + reason + b"}]"
        used = self._head + b',"choices":[],"usage":' + _encode(usage) + b"}\n\n" if self._with_usage else b""
        return end + self._tail + used + _DONE


class CompletionStream(Response):
    """Writes an answer as it comes; the status is decided by its first text, or by the first sign of life.

    Args:
        gateway: What serves it.
        sent: The message.
        frames: How it is written.
        headers: Of the response.
        began: When the request came, ``time.perf_counter()``.
    """

    def __init__(
        self, gateway: Gateway, sent: Sent, frames: Frames, *, headers: Mapping[str, str], began: float
    ) -> None:
        super().__init__(
            status_code=HTTPStatus.OK,
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                **headers,
            },
        )
        del self.headers["content-length"]
        self._gateway, self._sent, self._frames, self._began = gateway, sent, frames, began
        self._parts: TokenStream = gateway.client.stream(sent)
        self._scope: Scope = {}
        self._send: Send = _nowhere
        self._has_begun = self._is_gone = self._has_text = False
        self._wrote_at = time.monotonic()
        self._ending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it; raises what went wrong before anything was written."""
        self._scope, self._send = scope, send
        with self._gateway.streams.opened(KIND, self._end, is_resumable=False):
            watcher = asyncio.create_task(self._watch(receive))
            try:
                await self._answer()
            except _GoneError:
                return
            except Exception as error:
                if not self._has_begun or not isinstance(error, BarnabasError | Refusal):
                    raise
                with suppress(_GoneError):
                    await self._fail(error)
            finally:
                watcher.cancel()
                await self._parts.aclose()

    async def _answer(self) -> None:
        text = AppendOnly()
        patience = self._gateway.options.answer_timeout_s
        try:
            async with asyncio.timeout(patience):
                async for part in self._parts:
                    if await self._pass_on(part, text.take(part)):
                        return
        except TimeoutError as error:
            why = f"the answer is not finished after {patience:g} s; the message is in Kafka and will be answered"
            raise AnswerTimeoutError(why, cursor=str(self._parts.cursor)) from error
        if self._is_gone:
            raise _GoneError
        raise stopping(self._parts.cursor)

    async def _pass_on(self, part: Part, text: str) -> bool:
        """Write what a part brings; returns whether it was the last."""
        if part.outcome is None:
            if text:
                await self._text(text)
            return False
        if part.outcome is not TokenKind.COMPLETED:
            raise turn_error(part.token, "")
        if text:
            await self._text(text)
        reason, used = part.token.finish_reason, part.token.usage or Usage()
        if reason is None and not self._has_text:
            raise gone(self._sent)
        if not self._has_begun:
            await self._write(self._frames.first())
        end = self._frames.last(finished(reason), usage_of(used.prompt_tokens, used.completion_tokens))
        await self._write(end, is_last=True)
        return True

    async def _text(self, text: str) -> None:
        frame = self._frames.text(text)
        if not self._has_text:
            self._has_text = True
            self._gateway.figures.first_token(KIND, time.perf_counter() - self._began)
        await self._write(frame if self._has_begun else self._frames.first() + frame)

    async def _fail(self, error: Exception) -> None:
        """Say within the stream what went wrong; its client raises it."""
        await self._write(b"data: " + _encode(error_of(problem_of(error))) + b"\n\n", is_last=True)

    async def _write(self, content: bytes, *, is_last: bool = False) -> None:
        if self._is_gone:
            raise _GoneError
        self._wrote_at = time.monotonic()
        try:
            async with asyncio.timeout(self._gateway.options.send_timeout_s):
                if not self._has_begun:
                    self._has_begun = True
                    start: Message = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                    await self._send(start)
                await self._send({"type": "http.response.body", "body": content, "more_body": not is_last})
        except TimeoutError as error:  # it reads no more; what it lacks is in Kafka
            self._is_gone = True
            abort(self._scope)  # closing would wait until it has read what it was sent
            await self._parts.aclose()
            raise _GoneError from error

    async def _watch(self, receive: Receive) -> None:
        """Notice that the client has gone; give a sign of life where there is none."""
        silence_s = self._gateway.options.heartbeat_s
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    message = await receive()
            except TimeoutError:
                if time.monotonic() - self._wrote_at >= silence_s / 2:
                    with suppress(_GoneError):
                        await self._write(_BEAT if self._has_begun else self._frames.first() + _BEAT)
                continue
            if message["type"] == "http.disconnect":
                self._is_gone = True
                await self._parts.aclose()
                return

    def _end(self) -> None:
        """The gateway stops, and the time for answers under way is over."""
        self._ending = asyncio.get_running_loop().create_task(self._parts.aclose())


class _GoneError(Exception):
    """Nobody reads any more."""


def finished(reason: str | None) -> FinishReason:
    """Return why a model stopped, in OpenAI's words."""
    return _FINISHED.get(reason or "", "stop")


def usage_of(prompt_tokens: int, completion_tokens: int) -> CompletionUsage:
    """Return what was used."""
    return CompletionUsage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


def gone(sent: Sent) -> Refusal:
    """Return what is said of a message that was sent again after its answer had left the session's memory."""
    text = f"the message {sent.message_id[:64]!r} was answered before; its answer is in the session's log alone"
    return Refusal(410, "answer_gone", text)


def stopping(cursor: object) -> Refusal:
    """Return what is said of an answer that the gateway's end cuts off."""
    text = f"the gateway is ending; the message is in Kafka and will be answered; go on from cursor {cursor}"
    return Refusal(503, "gateway_stopping", text, headers={"X-Should-Retry": "false"})


async def _nowhere(_message: Message) -> None:
    """Before there is a client."""
