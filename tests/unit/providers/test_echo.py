"""The echo provider is deterministic and leaves the loop its turn."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError
from streams.providers import ChatMessage, ModelDelta, ModelRequest, ModelUsage
from streams.providers.echo import EchoProvider, split_words


async def _answer(provider: EchoProvider, text: str, *, max_tokens: int | None = None) -> list[ModelDelta]:
    messages = (ChatMessage("user", "before"), ChatMessage("assistant", "ok"), ChatMessage("user", text))
    request = ModelRequest(messages=messages, max_tokens=max_tokens)
    return [delta async for delta in provider.stream(request)]


async def test_stream_text_gives_it_back_word_by_word() -> None:
    """Each delta is a word with the space before it; the last one is empty and carries the usage."""
    deltas = await _answer(EchoProvider(), "a  b\nc ")
    assert [delta.text for delta in deltas] == ["a", "  b", "\nc ", ""]
    assert deltas[-1] == ModelDelta("", "stop", ModelUsage(6, 3))


@given(st.text())
def test_split_words_any_text_joins_to_it(text: str) -> None:
    """Nothing is lost or added."""
    assert "".join(split_words(text)) == text


async def test_stream_with_tokens_repeats_words_to_that_many() -> None:
    """``echo:5`` answers two words with five tokens."""
    deltas = await _answer(EchoProvider.from_options("5"), "one two")
    assert [delta.text for delta in deltas] == ["one", " two", " one", " two", " one", ""]


async def test_stream_max_tokens_cuts_and_says_length() -> None:
    """A limit is kept and named as the reason."""
    deltas = await _answer(EchoProvider(tokens=5), "one", max_tokens=2)
    assert [delta.text for delta in deltas] == ["one", " one", ""]
    assert deltas[-1].finish_reason == "length"


@pytest.mark.parametrize("provider", [EchoProvider(), EchoProvider(tokens=3)])
async def test_stream_without_words_is_empty(provider: EchoProvider) -> None:
    """A blank message has nothing to echo."""
    assert [delta.text for delta in await _answer(provider, "  ")] == [""]


async def test_stream_without_delay_lets_other_tasks_run() -> None:
    """A long echo does not keep the loop for itself."""
    ran: list[int] = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    seen = 0
    async for _ in EchoProvider(tokens=1000).stream(ModelRequest(messages=(ChatMessage("user", "x"),))):
        seen += not ran
    assert ran
    assert seen <= 16


async def test_from_options_delay_is_waited_before_every_token() -> None:
    """``echo:3@0.02`` takes at least 60 ms."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await _answer(EchoProvider.from_options("3@0.02"), "x")
    assert loop.time() - started >= 0.05  # less the millisecond that uvloop rounds each timer by


@pytest.mark.parametrize("options", ["x", "0", "-1", "3@", "3@x", "@1", "3 "])
def test_from_options_malformed_names_the_field(options: str) -> None:
    """An impossible model string is refused at start."""
    with pytest.raises(SettingsError, match="BARNABAS_MODEL"):
        EchoProvider.from_options(options)
