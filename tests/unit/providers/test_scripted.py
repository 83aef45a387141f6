"""The scripted provider does what its script says, and keeps a record of its calls."""

import asyncio
import json
import os
from contextlib import aclosing
from pathlib import Path

import pytest

from schemas.errors import BarnabasError, ProviderError, ProviderTimeoutError, ProviderUnavailableError, SettingsError
from streams.providers import ChatMessage, ModelRequest
from streams.providers.scripted import Behaviour, Script, ScriptedError, ScriptedProvider, load_script, read_calls
from tests.support.waiting import eventually


def _request(text: str) -> ModelRequest:
    messages = (ChatMessage("system", "be kind"), ChatMessage("user", text))
    return ModelRequest(messages=messages, session_id="s-1", turn_id="t-1")


async def _texts(script: Script | None, text: str) -> list[str]:
    return [delta.text async for delta in ScriptedProvider(script).stream(_request(text))]


async def _read_into(seen: list[str], script: Script) -> None:
    async with aclosing(ScriptedProvider(script).stream(_request("x"))) as stream:
        async for delta in stream:
            seen.append(delta.text)  # noqa: PERF401 -- what came before an error is what is asked for


async def test_stream_default_script_shows_text_and_number_of_messages() -> None:
    """Without a script the answer shows what was asked and how much memory the prompt carried."""
    assert "".join(await _texts(None, "hello")) == "You said: hello [2 messages]"


async def test_stream_chunks_are_sent_exactly_as_written() -> None:
    """A list of chunks is a list of deltas."""
    script = Script(replies={"hi": Behaviour(reply=("a", "b c", "{prompts}"))})
    assert await _texts(script, "hi") == ["a", "b c", "2", ""]


async def test_stream_empty_reply_has_no_text() -> None:
    """An empty answer still ends properly."""
    assert await _texts(Script(default=Behaviour(reply="")), "hi") == [""]


def test_behaviour_exact_beats_prefix_and_longest_prefix_wins() -> None:
    """A crash test gives thousands of unique texts one behaviour by their prefix."""
    script = Script(replies={"slow*": Behaviour("1"), "slow down*": Behaviour("2"), "slow down 7": Behaviour("3")})
    found = [script.behaviour(text).reply for text in ("slow 1", "slow down 1", "slow down 7", "fast")]
    assert found == ["1", "2", "3", Behaviour().reply]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("refused", ProviderError), ("unavailable", ProviderUnavailableError), ("timeout", ProviderTimeoutError)],
)
async def test_stream_error_is_raised_after_its_chunks(kind: str, expected: type[BarnabasError]) -> None:
    """The chunks before the failure are delivered."""
    error = ScriptedError(kind=kind, after_chunks=2, retry_after=3.0)  # type: ignore[arg-type] # parametrized
    script = Script(default=Behaviour(reply=("a", "b", "c"), error=error))
    seen: list[str] = []
    with pytest.raises(expected):
        await _read_into(seen, script)
    assert seen == ["a", "b"]


async def test_stream_error_after_more_chunks_than_there_are_is_still_raised() -> None:
    """A failure at the very end is a failure."""
    script = Script(default=Behaviour(reply="a", error=ScriptedError(after_chunks=9)))
    with pytest.raises(ProviderUnavailableError, match="scripted failure"):
        await _texts(script, "x")


@pytest.mark.parametrize("hang_after", [0, 1, 99])
async def test_stream_hang_sends_its_chunks_then_nothing(hang_after: int) -> None:
    """A hanging model is one that never says another word."""
    script = Script(default=Behaviour(reply=("a", "b"), hang_after=hang_after))
    seen: list[str] = []
    reading = asyncio.create_task(_read_into(seen, script))
    await eventually(lambda: seen == ["a", "b"][:hang_after])
    for _ in range(20):  # turns of the loop, in which a further chunk, or the end, would come
        await asyncio.sleep(0)
    assert seen == ["a", "b"][:hang_after]
    assert not reading.done()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_stream_delays_are_waited() -> None:
    """First and between delays add up."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await _texts(Script(default=Behaviour(reply=("a", "b", "c"), first_delay_s=0.03, between_delay_s=0.02)), "x")
    assert loop.time() - started >= 0.06  # 0.07, less the millisecond that uvloop rounds each timer by


async def test_stream_calls_path_appends_a_line_before_the_answer(tmp_path: Path) -> None:
    """The call is on record although its answer is never finished, beside those of others."""
    path = tmp_path / "calls.jsonl"
    assert read_calls(path) == []
    provider = ScriptedProvider(calls_path=path)
    async with aclosing(provider.stream(_request("one"))) as stream:
        await anext(stream)
    await _texts(Script(calls_path=str(path)), "two")
    calls = read_calls(path)
    assert [(call.session_id, call.turn_id, call.messages[-1].content) for call in calls] == [
        ("s-1", "t-1", "one"),
        ("s-1", "t-1", "two"),
    ]
    assert {call.pid for call in calls} == {os.getpid()}
    assert calls[0].time <= calls[1].time


@pytest.mark.parametrize("name", ["script.json", "script.yaml"])
def test_load_script_reads_json_and_yaml(tmp_path: Path, name: str) -> None:
    """JSON is YAML as well, so one text serves both."""
    path = tmp_path / name
    path.write_text(json.dumps({"replies": {"hi": {"reply": ["a", "b"], "hang_after": 1}}, "calls_path": "c"}))
    assert load_script(path) == Script(replies={"hi": Behaviour(("a", "b"), hang_after=1)}, calls_path="c")


@pytest.mark.parametrize("content", [None, "{", '{"replys": {}}', '{"default": {"reply": 3}}'])
def test_load_script_missing_or_malformed_names_the_field(tmp_path: Path, content: str | None) -> None:
    """A script with a misspelt field is refused, not half obeyed."""
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"BARNABAS_MODEL.*script\.json"):
        load_script(path)
