"""The steps of a turn: model calls, and the tools between them, until a call asks for no tool.

Each finished call is in the log (``StepCompleted``) before its tools run, a tool runs only after its ``ToolCalled``
was folded as accepted, and its result is in the log (``ToolReturned``) before the next call reads it. So the next
owner of a turn that was cut off goes on behind its last step: it repeats the model call that was cut off, and no tool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, Protocol

from schemas.commands import MAX_TOKENS, UserMessage
from schemas.errors import PartitionClosedError, ProviderError, StepLimitError
from schemas.events import StepCompleted, ToolCall, ToolCalled, ToolReturned, Usage
from schemas.session import OpenTurn, StepOutput, ToolResult
from schemas.tokens import ToolUse
from streams.agent import Agent
from streams.environment import Environment
from streams.incoming import Incoming
from streams.providers.limits import bounded
from streams.providers.protocol import ChatMessage, ModelRequest
from streams.stages import Stage, StageClock
from streams.token_stream import TokenStream
from streams.tool_runner import ToolOutput
from streams.tools import ToolContext
from streams.tracing import TurnTrace

#: Tools that one model call may ask for.
MAX_CALLS: Final = 16

#: Longest id of a call that is kept as the endpoint gave it, in characters.
MAX_ID_CHARS: Final = 128

#: Longest result of one call, in characters. Results stand in the session's value while the turn is open.
MAX_RESULT_CHARS: Final = 32_000

#: How much of a result subscribers see, in characters.
SHOWN_CHARS: Final = 4_000

#: What a model is told of a call whose worker died in the middle of it.
INTERRUPTED: Final = "interrupted: the call was made, and whether it took effect is unknown"

_STOP: Final = "stop"


class Journal(Protocol):
    """The turn's own side: its events."""

    def envelope(self, step: str) -> dict[str, Any]:
        """Return what an event of this turn carries."""

    def emit(self, event: StepCompleted | ToolReturned) -> None:
        """Append an event to the log."""

    async def accepted(self, event: ToolCalled) -> None:
        """Append an event and wait until it was folded as accepted; raises where it was not."""


class Answered(NamedTuple):
    """How a turn's last model call ended, and what all of them used."""

    finish_reason: str
    usage: Usage


class Steps:
    """Runs the steps of one attempt at a turn."""

    __slots__ = (
        "_agent",
        "_clock",
        "_env",
        "_incoming",
        "_journal",
        "_messages",
        "_room",
        "_stream",
        "_trace",
        "_usage",
    )

    def __init__(
        self,
        env: Environment,
        agent: Agent,
        incoming: Incoming,
        *,
        journal: Journal,
        stream: TokenStream,
        clock: StageClock,
        trace: TurnTrace,
    ) -> None:
        self._env = env
        self._agent = agent
        self._incoming = incoming
        self._journal = journal
        self._stream = stream
        self._clock = clock
        self._trace = trace
        #: What the model reads behind the prompt: its own steps, and what the tools returned.
        self._messages: list[ChatMessage] = []
        self._room = env.limits.max_answer_chars
        self._usage = Usage()

    async def run(self, prompt: tuple[ChatMessage, ...], cut_off: OpenTurn | None) -> Answered:
        """Answer; ``cut_off`` is the same turn as an earlier attempt left it in the log.

        Raises:
            ProviderError, RetryableError: Of the provider; the first also where the answer is too long.
            StepLimitError: The model still asks for tools after the agent's ``max_steps``.
            PartitionClosedError: Another owner goes on with the turn.
        """
        step = await self._resume(cut_off.steps, cut_off.tools) if cut_off is not None else 0
        while step < self._agent.max_steps:
            output, finish_reason = await self._env.calls.run(
                self._call_model(step, prompt),
                f"the model of turn {self._incoming.turn_id}",
                on_abandon=self._stream.abandon,
            )
            if not output.tool_calls:
                return Answered(finish_reason, self._usage)
            self._complete(output)
            await self._use_tools(output, {})
            step += 1
        raise StepLimitError(f"the model still asks for tools after {self._agent.max_steps} steps")

    # -- The model

    async def _call_model(self, step: int, prompt: tuple[ChatMessage, ...]) -> tuple[StepOutput, str]:
        self._clock.enter(Stage.GENERATE)
        agent = self._agent
        request = ModelRequest(
            messages=(*prompt, *self._messages) if self._messages else prompt,
            max_tokens=self._max_tokens(),
            temperature=agent.temperature,
            tools=agent.tool_specs,
            session_id=self._incoming.session_id,
            turn_id=self._incoming.turn_id,
        )
        began, finish_reason, usage = self._stream.pieces, _STOP, Usage()
        calls: tuple[ToolCall, ...] = ()
        send, room = self._stream.delta, self._room
        call = self._trace.model_call(agent, request, bounded(agent.provider.stream(request), agent.timeouts))
        async with aclosing(call) as deltas:
            async for delta in deltas:
                room -= len(delta.text)
                if room < 0:
                    raise self._too_long()
                send(delta.text)
                if delta.finish_reason is not None:
                    finish_reason = delta.finish_reason
                if delta.usage is not None:
                    usage = Usage(
                        prompt_tokens=delta.usage.prompt_tokens, completion_tokens=delta.usage.completion_tokens
                    )
                if delta.tool_calls:
                    calls = delta.tool_calls
                    room -= sum(len(call.arguments) for call in calls)
        if room < 0:
            raise self._too_long()
        self._room = room
        self._add(usage)
        text = self._stream.text_since(began) if calls else ""
        return StepOutput(step=step, text=text, tool_calls=_named(step, calls), usage=usage), finish_reason

    def _max_tokens(self) -> int | None:
        """The agent's limit, or the message's own where that is lower."""
        command = self._incoming.command
        asked = command.limits.get(MAX_TOKENS) if isinstance(command, UserMessage) else None
        return min((limit for limit in (self._agent.max_tokens, asked) if limit is not None), default=None)

    def _too_long(self) -> ProviderError:
        return ProviderError(f"the answer is longer than {self._env.limits.max_answer_chars} characters")

    def _add(self, usage: Usage) -> None:
        self._usage = Usage(
            prompt_tokens=self._usage.prompt_tokens + usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens + usage.completion_tokens,
        )

    # -- The log

    def _complete(self, output: StepOutput) -> None:
        self._journal.emit(
            StepCompleted(
                **self._journal.envelope(f"step-{output.step}"),
                step=output.step,
                text=output.text,
                tool_calls=output.tool_calls,
                usage=output.usage,
            )
        )

    async def _resume(self, steps: Sequence[StepOutput], tools: Sequence[ToolResult]) -> int:
        """Go through the steps that are in the log; returns the number of the next one.

        Their text is streamed again: readers forget the attempt that was cut off.
        """
        for output in steps:
            self._stream.delta(output.text)
            self._stream.flush()
            self._room -= len(output.text) + sum(len(call.arguments) for call in output.tool_calls)
            self._add(output.usage)
            await self._use_tools(output, {tool.call.call_id: tool for tool in tools if tool.step == output.step})
        return steps[-1].step + 1 if steps else 0

    # -- The tools

    async def _use_tools(self, output: StepOutput, known: Mapping[str, ToolResult]) -> None:
        """Have a step's tools run, at once; ``known`` are the calls that the log holds already."""
        self._clock.enter(Stage.TOOLS)
        self._messages.append(ChatMessage("assistant", output.text, tool_calls=output.tool_calls))
        try:
            async with asyncio.TaskGroup() as group:
                using = [
                    group.create_task(self._use_tool(output.step, call, known.get(call.call_id)))
                    for call in output.tool_calls
                ]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._messages += [
            ChatMessage("tool", task.result(), tool_call_id=call.call_id)
            for call, task in zip(output.tool_calls, using, strict=True)
        ]

    async def _use_tool(self, step: int, call: ToolCall, known: ToolResult | None) -> str:
        self._stream.tool(ToolUse(call_id=call.call_id, name=call.name, arguments=call.arguments))
        if known is not None and known.result is not None:
            output = ToolOutput(known.result, is_error=known.is_error)
        else:
            output = await self._run_tool(step, call, was_called=known is not None)
            self._return(step, call, output)
        shown = output.text[:SHOWN_CHARS]
        self._stream.tool(ToolUse(call_id=call.call_id, name=call.name, result=shown, is_error=output.is_error))
        return output.text

    async def _run_tool(self, step: int, call: ToolCall, *, was_called: bool) -> ToolOutput:
        tool = self._agent.tool(call.name)
        if was_called and (tool is None or not tool.is_idempotent):
            return ToolOutput(INTERRUPTED, is_error=True)
        called = ToolCalled(**self._journal.envelope(f"call-{step}-{call.call_id}"), step=step, call=call)
        await self._journal.accepted(called)
        if self._env.lease.is_over:
            raise PartitionClosedError("the lease is over")
        if tool is None:
            known = ", ".join(spec.name for spec in self._agent.tool_specs) or "none"
            return ToolOutput(f"there is no tool {call.name!r}; there are: {known}", is_error=True)
        incoming = self._incoming
        context = ToolContext(
            session_id=incoming.session_id,
            turn_id=incoming.turn_id,
            message_id=incoming.message_id,
            step=step,
            call_id=call.call_id,
        )
        with self._trace.tool(call.name, call.call_id):
            output = await self._env.tools.run(tool, call.arguments, context)
        if len(output.text) > MAX_RESULT_CHARS:
            cut = f"{output.text[:MAX_RESULT_CHARS]} [cut: {len(output.text)} characters]"
            return ToolOutput(cut, is_error=output.is_error)
        return output

    def _return(self, step: int, call: ToolCall, output: ToolOutput) -> None:
        self._journal.emit(
            ToolReturned(
                **self._journal.envelope(f"return-{step}-{call.call_id}"),
                step=step,
                call_id=call.call_id,
                result=output.text,
                is_error=output.is_error,
            )
        )


def _named(step: int, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Return the first calls, each with an id of its own: endpoints leave ids out, or repeat them."""
    seen: set[str] = set()
    named: list[ToolCall] = []
    for number, call in enumerate(calls[:MAX_CALLS]):
        call_id = call.call_id
        if not call_id or len(call_id) > MAX_ID_CHARS or call_id in seen:
            fallbacks = (f"call-{step}-{n}" for n in range(number, number + MAX_CALLS + 1))
            call_id = next(fallback for fallback in fallbacks if fallback not in seen)
        seen.add(call_id)
        named.append(ToolCall(call_id=call_id, name=call.name, arguments=call.arguments))
    return tuple(named)
