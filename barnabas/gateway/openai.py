"""The OpenAI-compatible interface: an agent is a model, and a session remembers the conversation."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.client import Answer, Sent
from barnabas.gateway.bodies import read_body, reply
from barnabas.gateway.chat_request import understood
from barnabas.gateway.completion_stream import KIND, CompletionStream, Frames, finished, gone, stopping, usage_of
from barnabas.gateway.gateway import Gateway, gateway_of
from barnabas.gateway.messages import IDEMPOTENCY
from barnabas.gateway.naming import SESSION_HEADER, header_value, principal_of
from barnabas.gateway.openai_types import ChatCompletion, ChatRequest, Choice, Model, ModelList, Said
from barnabas.gateway.operation import JSON, Header, Reply, operation
from barnabas.gateway.problems import Refusal

_RESPONSE_HEADERS: Final = {
    SESSION_HEADER: "The session: the one that was named, or the new one; percent-encoded.",
    "X-Message-Id": "The message.",
    "X-Turn-Id": "The turn: to cancel it, or to read it again from the session's stream.",
    "X-Cursor": "Before the answer's first token: `after=` of the session's stream.",
    "X-Without-Effect": "Fields of the request that have none.",
}


@operation(
    "Answer a message",
    tag="openai",
    scope="sessions:write",
    body=ChatRequest,
    headers=(
        Header(name=SESSION_HEADER, text="The session, percent-encoded; a new one where nothing names it."),
        IDEMPOTENCY,
    ),
    replies={
        200: Reply(
            ChatCompletion,
            "The answer; with `stream` its chunks, as server-sent events.",
            media=(JSON, "text/event-stream"),
            headers=_RESPONSE_HEADERS,
        )
    },
    refusals=(400, 404, 409, 410, 413, 415, 422, 500, 502, 503, 504),
    style="openai",
)
async def create_chat_completion(request: Request) -> Response:
    """The last message is sent to the session, which remembers the others.

    A client that goes away cancels nothing: the answer is made, and remembered.
    """
    began = time.perf_counter()
    gateway, principal = gateway_of(request), principal_of(request)
    principal.require("sessions:write")
    body = await read_body(request, ChatRequest, invalid=400)
    asked = understood(request, body, gateway, principal.tenant)
    sent = await gateway.client.send(
        asked.session_id,
        asked.text,
        message_id=asked.message_id,
        agent=asked.agent,
        tenant=principal.tenant,
        metadata=asked.metadata,
        max_tokens=asked.max_tokens,
    )
    headers = {
        SESSION_HEADER: header_value(asked.session_id),
        "X-Message-Id": sent.message_id,
        "X-Turn-Id": sent.turn_id,
        "X-Cursor": str(sent.cursor),
    }
    if asked.without_effect:
        headers["X-Without-Effect"] = ", ".join(asked.without_effect)
    completion_id, created = f"chatcmpl-{sent.turn_id}", int(time.time())
    if body.stream:
        with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        frames = Frames(completion_id, created, asked.agent, with_usage=with_usage)
        return CompletionStream(gateway, sent, frames, headers=headers, began=began)
    answer = await _answer(request, gateway, sent)
    if answer is None:
        return Response(status_code=499)
    if answer.finish_reason is None and not answer.text:
        raise gone(sent)
    gateway.figures.first_token(f"whole_{KIND}", time.perf_counter() - began)
    used = answer.usage
    completion = ChatCompletion(
        id=completion_id,
        created=created,
        model=asked.agent,
        choices=[Choice(message=Said(content=answer.text), finish_reason=finished(answer.finish_reason))],
        usage=usage_of(used.prompt_tokens, used.completion_tokens),
    )
    return reply(completion, headers=headers)


@operation(
    "List the agents",
    tag="openai",
    scope="sessions:read",
    replies={200: Reply(ModelList, "All of them.")},
    style="openai",
)
async def list_models(request: Request) -> Response:
    """Each answers under its name as `model`."""
    principal_of(request).require("sessions:read")
    return reply(ModelList(data=[Model(id=name) for name in sorted(gateway_of(request).settings.agents)]))


@operation(
    "Name an agent",
    tag="openai",
    scope="sessions:read",
    replies={200: Reply(Model, "There is one.")},
    refusals=(404,),
    style="openai",
)
async def retrieve_model(request: Request) -> Response:
    """Whether there is an agent of that name."""
    principal_of(request).require("sessions:read")
    name = request.path_params["model"]
    if name not in gateway_of(request).settings.agents:
        raise Refusal(404, "model_not_found", f"there is no model {name[:64]!r}", field="model")
    return reply(Model(id=name))


async def _answer(request: Request, gateway: Gateway, sent: Sent) -> Answer | None:
    """Wait for the whole answer; None where the client has gone meanwhile, which cancels nothing."""
    answer = asyncio.ensure_future(gateway.client.answer(sent, timeout=gateway.options.answer_timeout_s))
    leaving = asyncio.ensure_future(_left(request))
    is_stopped = False

    def end() -> None:
        nonlocal is_stopped
        is_stopped = answer.cancel()

    with gateway.streams.opened(f"whole_{KIND}", end, is_resumable=False):
        try:
            await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not answer.cancelled():
                return answer.result()
            if is_stopped:
                raise stopping(sent.cursor)
            return None
        finally:
            for task in (answer, leaving):
                task.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [
        Route("/v1/chat/completions", create_chat_completion, methods=["POST"]),
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model}", retrieve_model, methods=["GET"]),
    ]
