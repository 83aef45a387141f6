"""Traces for OpenTelemetry: publisher, turn, model call, tools, token stream.

Names follow the semantic conventions for GenAI and for messaging; what is Barnabas's own begins with ``barnabas.``.
Texts (prompts, answers, a tool's arguments) are in no span. Needs ``pip install 'barnabas[otel]'``.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import replace
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.attempt import Attempt
from schemas.errors import BarnabasError
from schemas.events import Outcome, TurnCompleted, TurnFailed
from streams.agent import Agent
from streams.incoming import Incoming
from streams.options import TracingOptions
from streams.providers.protocol import ModelDelta, ModelRequest
from streams.token_stream import TokenStream
from streams.tracing import Tracing, TurnTrace
from topics.names import TopicNames

#: How long the end of a worker waits for a collector that does not answer.
_FLUSH_MS: Final = 3000

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def exporting_provider(options: TracingOptions, *, worker: str) -> TracerProvider:
    """Return a provider that exports over OTLP/HTTP; the ``OTEL_*`` variables hold for all that ``options`` leave out.

    Args:
        options: Endpoint and service name.
        worker: The worker's name: the spans' ``service.instance.id``.
    """
    named = {"service.instance.id": worker}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        named[SERVICE_NAME] = options.service_name
    provider = TracerProvider(resource=Resource.create(dict(named)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=options.endpoint)))
    return provider


class OtelTracing(Tracing):
    """Makes spans."""

    def __init__(self, provider: TracerProvider, names: TopicNames, *, worker: str) -> None:
        """Take the provider; ``worker`` is the messaging client's id."""
        self._provider = provider
        self._names = names
        self._worker = worker
        self._tracer = provider.get_tracer("barnabas")

    def turn(self, incoming: Incoming, *, partition: int, attempt: Attempt) -> TurnTrace:
        """Begin the turn's span under the publisher's."""
        parent = {"traceparent": incoming.traceparent} if incoming.traceparent is not None else {}
        span = self._tracer.start_span(
            f"process {self._names.messages}",
            context=_PROPAGATOR.extract(parent, context=Context()),
            kind=SpanKind.CONSUMER,
            attributes={
                **_messaging("process", self._names.messages, partition),
                "messaging.client.id": self._worker,
                "messaging.consumer.group.name": self._names.group_id,
                "messaging.kafka.message.key": incoming.session_id,
                "messaging.kafka.offset": incoming.offset,
                "messaging.message.id": incoming.message_id,
                "gen_ai.agent.name": incoming.agent,
                "gen_ai.conversation.id": incoming.session_id,
                "barnabas.turn.id": incoming.turn_id,
                "barnabas.attempt": attempt.number,
                "barnabas.epoch": attempt.epoch,
            },
        )
        return _OtelTurn(self._tracer, span, self._names.tokens, partition)

    def close(self) -> None:
        """Export what is left."""
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()


class _OtelTurn(TurnTrace):
    __slots__ = ("_context", "_is_ended", "_partition", "_span", "_tokens", "_tracer")

    def __init__(self, tracer: Tracer, span: Span, tokens: str, partition: int) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())
        self._tokens = tokens
        self._partition = partition
        self._is_ended = False

    def passed_on(self, incoming: Incoming) -> Incoming:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=self._context)
        return replace(incoming, traceparent=carrier.get("traceparent", incoming.traceparent))

    async def model_call(
        self, agent: Agent, request: ModelRequest, deltas: AsyncGenerator[ModelDelta, None]
    ) -> AsyncGenerator[ModelDelta, None]:
        began, has_text = time.perf_counter(), False
        with self._model_span(agent, request) as span:
            async with aclosing(deltas):
                async for delta in deltas:
                    if delta.text and not has_text:
                        has_text = True
                        span.add_event("first_token")
                        span.set_attribute("gen_ai.response.time_to_first_chunk", time.perf_counter() - began)
                    if delta.finish_reason is not None:
                        span.set_attribute("gen_ai.response.finish_reasons", (delta.finish_reason,))
                    if delta.usage is not None:
                        span.set_attribute("gen_ai.usage.input_tokens", delta.usage.prompt_tokens)
                        span.set_attribute("gen_ai.usage.output_tokens", delta.usage.completion_tokens)
                    yield delta

    @contextmanager
    def _model_span(self, agent: Agent, request: ModelRequest) -> Iterator[Span]:
        model = request.model or agent.model.partition(":")[2] or agent.model
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": agent.provider.name,
            "gen_ai.request.model": model,
            "gen_ai.agent.name": agent.name,
        }
        optional = {
            "gen_ai.conversation.id": request.session_id,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.temperature": request.temperature,
        }
        attributes |= {name: value for name, value in optional.items() if value is not None}
        with self._span_of(f"chat {model}", SpanKind.CLIENT, attributes) as span:
            yield span

    @contextmanager
    def _span_of(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> Iterator[Span]:
        """Stand for something that may fail; a cancelled one is closed without an error."""
        span = self._tracer.start_span(name, context=self._context, kind=kind, attributes=attributes)
        try:
            yield span
        except Exception as exc:
            _failed(span, exc.code if isinstance(exc, BarnabasError) else type(exc).__qualname__, str(exc))
            raise
        finally:
            span.end()

    def tool(self, name: str, call_id: str) -> AbstractContextManager[None]:
        return self._tool(name, call_id)

    @contextmanager
    def _tool(self, name: str, call_id: str) -> Iterator[None]:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": call_id,
        }
        with (
            self._span_of(f"execute_tool {name}", SpanKind.INTERNAL, attributes) as span,
            use_span(span, record_exception=False, set_status_on_exception=False),  # a tool's own spans lie below
        ):
            yield

    def tokens_sent(self, stream: TokenStream) -> None:
        first_ns = time.time_ns()
        if stream.deltas:
            first_ns -= int((time.perf_counter() - stream.first_delta_at) * 1e9)
            self._span.add_event("first_token", timestamp=first_ns)
        span = self._tracer.start_span(
            f"send {self._tokens}",
            context=self._context,
            kind=SpanKind.PRODUCER,
            attributes={
                **_messaging("send", self._tokens, self._partition),
                "messaging.batch.message_count": stream.deltas,
            },
            start_time=first_ns,
        )
        span.end()

    def end(self, outcome: Outcome | None = None) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        span = self._span
        span.set_attribute("barnabas.outcome", type(outcome).__name__ if outcome is not None else "abandoned")
        if isinstance(outcome, TurnCompleted):
            span.set_attribute("gen_ai.usage.input_tokens", outcome.usage.prompt_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", outcome.usage.completion_tokens)
        elif isinstance(outcome, TurnFailed):
            _failed(span, outcome.cause, outcome.detail)
        span.end()


def _messaging(operation: str, topic: str, partition: int) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
    }


def _failed(span: Span, kind: str, text: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, text))
