"""OpenAI's chat completions as structs: what is taken, and what is given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

FinishReason = Literal["stop", "length", "content_filter"]
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ContentPart(Struct, frozen=True, kw_only=True):
    """A part of a message; text alone is taken from the newest one.

    Attributes:
        type: ``text``.
        text: It.
    """

    type: str
    text: str | None = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    """A message.

    Attributes:
        role: Who said it.
        content: What was said.
    """

    role: Role
    content: str | list[ContentPart] | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    """How to stream.

    Attributes:
        include_usage: Whether a last chunk says what was used.
    """

    include_usage: bool | None = None


class ResponseFormat(Struct, frozen=True, kw_only=True):
    """The answer's form.

    Attributes:
        type: ``text``, nothing else.
    """

    type: str


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A request for an answer. Fields that are not told of here have no effect.

    Attributes:
        model: The agent that is to answer; see `/v1/models`.
        messages: The last one is the user's, and is what is sent. The session remembers the others: here they have no
            effect, and neither have system messages, since the agent has its own.
        stream: Whether the answer comes as it is written, as server-sent events.
        stream_options: How.
        user: The session, where neither `X-Session-Id` nor `metadata.session_id` names it.
        metadata: Labels, carried into the log; `session_id` among them names the session.
        n: One answer is made.
        max_tokens: Longest output of a model call; the agent's own limit counts where it is lower.
        max_completion_tokens: As `max_tokens`; of both the lower one counts.
        response_format: `{"type": "text"}`.
        tools, functions: None: an agent has its own tools.
        tool_choice, function_call: `none` or `auto`.
        stop: None: an answer is not cut.
        logprobs: Not given.
        top_logprobs: Not given.
        logit_bias: None.
        modalities: `["text"]`.
        audio: None.
        prediction: None.
        web_search_options: None.
        temperature, top_p, presence_penalty, frequency_penalty, seed: Without effect: the agent's settings count.
        reasoning_effort, verbosity, service_tier, store, parallel_tool_calls: Without effect.
    """

    model: str
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    tool_choice: Any = None
    function_call: Any = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    reasoning_effort: Any = None
    verbosity: Any = None
    service_tier: Any = None
    store: Any = None
    parallel_tool_calls: Any = None


class Said(Struct, frozen=True, kw_only=True):
    """The agent's message.

    Attributes:
        role: The agent's.
        content: The answer.
        refusal: None.
    """

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: str | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """The answer.

    Attributes:
        index: 0.
        message: The message.
        logprobs: None.
        finish_reason: Why the model stopped.
    """

    message: Said
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class CompletionUsage(Struct, frozen=True, kw_only=True):
    """What the model read and wrote, in its tokens; a message that was sent again used nothing.

    Attributes:
        prompt_tokens: Read.
        completion_tokens: Written.
        total_tokens: Both.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer.

    Attributes:
        id: ``chatcmpl-`` and the turn's id.
        object: Its type.
        created: When it was asked for, in Unix seconds.
        model: The agent.
        choices: One.
        usage: What was used.
    """

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    object: Literal["chat.completion"] = "chat.completion"


class Model(Struct, frozen=True, kw_only=True):
    """An agent.

    Attributes:
        id: Its name.
        object: Its type.
        created: 0.
        owned_by: This service.
    """

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["barnabas"] = "barnabas"


class ModelList(Struct, frozen=True, kw_only=True):
    """All agents.

    Attributes:
        data: They.
        object: Its type.
    """

    data: list[Model]
    object: Literal["list"] = "list"
