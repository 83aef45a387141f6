"""OpenTelemetry: a turn's spans on a real run, from the publisher's context to the tokens'."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from schemas.headers import traceparent_of
from streams.otel import OtelTracing
from streams.providers.scripted import Behaviour, Script, ScriptedToolCall
from tests.support.deployment import Deployment, LocalWorker

Traced = Callable[..., LocalWorker]

TRACE, PUBLISHER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Give where finished spans are."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(deployment: Deployment, spans: InMemorySpanExporter) -> Traced:
    """Give a function that makes a worker that traces into ``spans``; it takes further options of its spec."""

    def make(**options: Any) -> LocalWorker:
        local = LocalWorker(deployment, deployment.spec("w1", monitoring={"enabled": False}, **options))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(spans))
        local.worker.tracing = OtelTracing(provider, deployment.names, worker="w1")
        return local

    return make


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    """The one finished span whose name begins with this."""
    (found,) = [span for span in spans.get_finished_spans() if span.name.startswith(name)]
    return found


def parent_of(span: ReadableSpan) -> str:
    """Trace and span id of a span's parent."""
    assert span.parent is not None
    return f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}"


def place_of(span: ReadableSpan) -> str:
    """Trace and span id of a span."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


async def test_turn_is_one_trace_from_its_publisher_to_its_tokens(
    deployment: Deployment, traced: Traced, spans: InMemorySpanExporter
) -> None:
    """Parents, kinds, the conventions' attributes; and the records of the turn carry its span on."""
    deployment.publish("ada", "fast one", traceparent=f"00-{TRACE}-{PUBLISHER}-01")
    deployment.flush()
    async with traced() as worker:
        await worker.until_answered()
    assert worker.worker.monitor.url is None
    turn, call, sent = named(spans, "process"), named(spans, "chat"), named(spans, "send")
    assert parent_of(turn) == f"{TRACE}-{PUBLISHER}"
    assert parent_of(call) == parent_of(sent) == place_of(turn)
    assert [span.kind for span in (turn, call, sent)] == [SpanKind.CONSUMER, SpanKind.CLIENT, SpanKind.PRODUCER]
    (message,) = deployment.published
    assert {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": deployment.names.messages,
        "messaging.destination.partition.id": str(message.partition),
        "messaging.kafka.offset": message.offset,
        "messaging.message.id": message.message_id,
        "gen_ai.agent.name": "assistant",
        "gen_ai.conversation.id": "ada",
        "barnabas.turn.id": message.turn_id,
        "barnabas.outcome": "TurnCompleted",
    }.items() <= dict(turn.attributes or {}).items()
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.output_tokens": 1,
        "gen_ai.response.finish_reasons": ("stop",),
    }.items() <= dict(call.attributes or {}).items()
    assert [event.name for event in call.events] == [event.name for event in turn.events] == ["first_token"]
    assert dict(sent.attributes or {})["messaging.destination.name"] == deployment.names.tokens
    for topic in (deployment.names.events, deployment.names.tokens):
        records = [record for record in deployment.reader(topic).read_to_end() if record.key == b"ada"]
        assert records
        assert {traceparent_of(record.headers) for record in records} == {f"00-{place_of(turn)}-01"}


async def test_tool_is_a_span_of_its_turn(deployment: Deployment, spans: InMemorySpanExporter, traced: Traced) -> None:
    """Between the two model calls, with the name and the id that the model gave."""
    call = ScriptedToolCall(name="note", arguments={"text": "hello"})
    script = Script(default=Behaviour(reply="done", tools=((call,),)))
    worker = traced(script=script)
    deployment.publish("ada", "use it")
    deployment.flush()
    async with worker:
        await worker.until_answered()
    turn, tool = named(spans, "process"), named(spans, "execute_tool note")
    assert parent_of(tool) == place_of(turn)
    attributes = dict(tool.attributes or {})
    assert {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "note"}.items() <= attributes.items()
    assert attributes["gen_ai.tool.call.id"]
    assert len([span for span in spans.get_finished_spans() if span.name.startswith("chat")]) == 2


async def test_failed_turn_and_its_model_call_are_errors_and_nothing_of_the_text_is_told(
    deployment: Deployment, traced: Traced, spans: InMemorySpanExporter
) -> None:
    """With the stable code of the cause; a turn without a publisher's context begins a trace of its own."""
    deployment.publish("ada", "hang secret-word", deadline_ms=300)
    deployment.flush()
    async with traced() as worker:
        await worker.until_answered()
    turn, call = named(spans, "process"), named(spans, "chat")
    assert turn.parent is None
    assert (turn.status.status_code, dict(turn.attributes or {})["error.type"]) == (StatusCode.ERROR, "turn_timeout")
    assert parent_of(call) == place_of(turn)
    assert not [span for span in spans.get_finished_spans() if "secret-word" in span.to_json()]
