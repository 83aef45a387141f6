"""OpenAI's own client, unchanged, as the client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.deployment import Deployment
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S

_AGENT = "assistant"


def user(text: str) -> list[Any]:
    """Return the messages of a request that says this."""
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """Give the official client."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none") as made:
        yield made


def test_conversation_of_two_turns_whole_and_streamed(client: openai.OpenAI, session: str) -> None:
    """The session remembers: the second request says nothing of the first, whose two messages reach the model."""
    first = client.chat.completions.create(model=_AGENT, messages=user("fast one"), user=session)
    assert (first.choices[0].message.content, first.choices[0].finish_reason) == ("fast one!", "stop")
    assert (first.object, first.model, first.choices[0].message.role) == ("chat.completion", _AGENT, "assistant")
    assert first.usage is not None
    assert first.usage.completion_tokens > 0
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens

    chunks = [*client.chat.completions.create(model=_AGENT, messages=user("count these"), user=session, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "3"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert (chunks[0].choices[0].delta.role, {chunk.id for chunk in chunks}) == ("assistant", {chunks[0].id})


def test_stream_comes_in_pieces_with_its_usage_last(client: openai.OpenAI, session: str) -> None:
    """Token by token; what was used stands in a chunk of its own."""
    stream = client.chat.completions.create(
        model=_AGENT,
        messages=user("medium answer"),
        extra_headers={"X-Session-Id": session},
        stream=True,
        stream_options={"include_usage": True},
    )
    assert stream.response.headers["x-session-id"] == session
    *chunks, last = stream
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert ("".join(pieces), len(pieces) > 2) == ("a b c d e f", True)
    assert (last.choices, last.usage is not None) == ([], True)
    assert all(chunk.usage is None for chunk in chunks)


def test_session_is_named_by_header_metadata_or_user(client: openai.OpenAI, session: str) -> None:
    """The first of them counts; without any there is a new one, which the response names."""
    created = client.chat.completions.with_raw_response.create
    named = created(
        model=_AGENT,
        messages=user("fast"),
        user="other",
        metadata={"session_id": "another", "label": "x"},
        extra_headers={"X-Session-Id": session},
    )
    assert named.headers["x-session-id"] == session
    assert (
        created(model=_AGENT, messages=user("fast"), metadata={"session_id": session}, user="other").headers[
            "x-session-id"
        ]
        == session
    )
    fresh = [created(model=_AGENT, messages=user("count me")).headers["x-session-id"] for _ in range(2)]
    assert len({session, *fresh}) == 3
    again = client.chat.completions.create(model=_AGENT, messages=user("count me"), user=fresh[0])
    assert again.choices[0].message.content == "3"


def test_session_id_beyond_ascii_comes_back_as_it_was_sent(client: openai.OpenAI, session: str) -> None:
    """A header holds no such characters: it is percent-encoded both ways."""
    name = f"Zoë {session} 50%"
    first = client.chat.completions.with_raw_response.create(model=_AGENT, messages=user("fast"), user=name)
    header = first.headers["x-session-id"]
    again = client.chat.completions.create(
        model=_AGENT, messages=user("count me"), extra_headers={"X-Session-Id": header}
    )
    assert again.choices[0].message.content == "3"


def test_what_has_no_effect_is_named(client: openai.OpenAI) -> None:
    """Never silently."""
    messages: list[Any] = [{"role": "system", "content": "be brief"}, *user("fast")]
    answer = client.chat.completions.with_raw_response.create(model=_AGENT, messages=messages, temperature=0.2)
    assert answer.headers["x-without-effect"] == "temperature, messages[0:1]"


def test_refusals_are_the_clients_own_exceptions(client: openai.OpenAI, session: str) -> None:
    """With code and field."""
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=user("hello"), user=session)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as twice:
        client.chat.completions.create(model=_AGENT, messages=user("hello"), user=session, n=2)
    assert (twice.value.code, twice.value.param) == ("unsupported_parameter", "n")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_failed_turn_is_told_once(
    client: openai.OpenAI, served: Deployment, session: str, *, is_streamed: bool
) -> None:
    """A failure is an outcome: the client, which repeats each 5xx by itself, is told not to.

    Mutant: without ``X-Should-Retry`` the model is called three times, and the session holds three messages.
    """
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=_AGENT, messages=user("refuse it"), user=session, stream=is_streamed)
    assert (failed.value.status_code, failed.value.code) == (502, "provider_failed")
    assert len([call for call in served.calls() if call.session_id == session]) == 1


def test_turn_that_fails_in_mid_answer_ends_the_stream_with_an_error(client: openai.OpenAI, session: str) -> None:
    """What was given is not taken for the answer."""
    chunks = client.chat.completions.create(model=_AGENT, messages=user("break it"), user=session, stream=True)
    given: list[str | None] = []
    with pytest.raises(openai.APIError) as failed:
        given.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert "".join(filter(None, given)) == "a b"
    assert failed.value.code == "provider_failed"


def test_same_idempotency_key_is_answered_once(client: openai.OpenAI, served: Deployment, session: str) -> None:
    """Whole or streamed, the second request has the first one's answer. Mutant: the key is not the message's id."""
    asked: dict[str, Any] = {
        "model": _AGENT,
        "messages": user("fast and once"),
        "user": session,
        "extra_headers": {"Idempotency-Key": f"key {session}"},
    }
    answers = [client.chat.completions.create(**asked).choices[0].message.content for _ in range(2)]
    chunks = client.chat.completions.create(**asked, stream=True)
    answers.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
    assert answers == ["fast and once!"] * 3
    assert len([call for call in served.calls() if call.session_id == session]) == 1


def test_client_that_leaves_cancels_nothing(client: openai.OpenAI, served: Deployment, session: str) -> None:
    """The answer is made, and remembered. Mutant: the turn is cancelled with its request."""
    stream = client.chat.completions.create(model=_AGENT, messages=user("medium one"), user=session, stream=True)
    turn_id = stream.response.headers["x-turn-id"]
    next(iter(stream))
    stream.close()
    served.wait(lambda: turn_id in served.log().outcomes, "the turn has its outcome")
    assert type(served.log().outcomes[turn_id].event).__name__ == "TurnCompleted"


def test_cancelled_turn_ends_the_stream_with_an_error(
    client: openai.OpenAI, gateway: GatewayProcess, session: str
) -> None:
    """Half an answer is not passed off as one."""
    stream = client.chat.completions.create(model=_AGENT, messages=user("hang on"), user=session, stream=True)
    chunks = iter(stream)
    while not next(chunks).choices[0].delta.content:
        pass
    order = {"turn_id": stream.response.headers["x-turn-id"], "reason": "enough"}
    assert httpx.post(f"{gateway.url}/sessions/{session}/cancel", json=order, timeout=ANSWER_S).status_code == 202
    with pytest.raises(openai.APIError) as ended:
        list(chunks)
    assert ended.value.code == "turn_cancelled"


async def test_many_streams_at_once_each_have_their_own_answer(gateway: GatewayProcess, session: str) -> None:
    """One reader of each partition serves them all."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> str:
            stream = await client.chat.completions.create(
                model=_AGENT, messages=user(f"fast {number}"), user=f"{session}-{number}", stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*(ask(number) for number in range(100)))
    assert answers == [f"fast {number}!" for number in range(100)]


def test_models(client: openai.OpenAI) -> None:
    """The agents."""
    assert [model.id for model in client.models.list()] == [_AGENT]
    assert client.models.retrieve(_AGENT).owned_by == "barnabas"
