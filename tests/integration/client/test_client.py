"""The client on a real Kafka with a real worker."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
import uvloop

from barnabas import BarnabasError, Client, Cursor, Message, Part, Sent, SyncClient
from barnabas.fanout import FanOut, Subscription, _Mode
from schemas.errors import (
    AnswerTimeoutError,
    ClientError,
    CursorError,
    InvalidMessageError,
    MessageRejectedError,
    RecordTooLargeError,
    SlowSubscriberError,
    TurnCancelledError,
    TurnFailedError,
)
from schemas.ids import turn_id_for
from tests.integration.client.conftest import client_of
from tests.support.deployment import Deployment
from tests.support.waiting import DEADLINE_S, eventually


async def test_ask_returns_the_whole_answer_with_its_ids(client: Client) -> None:
    """Text, usage, ids, and a cursor behind it all."""
    answer = await client.ask("ask", "fast hello", message_id="m-1")
    assert (str(answer), answer.session_id, answer.message_id) == ("fast hello!", "ask", "m-1")
    assert answer.turn_id == turn_id_for("ask", "m-1")
    assert answer.usage.completion_tokens > 0
    assert answer.cursor.is_resumed


async def test_ask_the_same_message_twice_is_one_turn(client: Client) -> None:
    """The second answer is the first one's."""
    first = await client.ask("twice", "once", message_id="m-2")
    again = await client.ask("twice", "once", message_id="m-2")
    assert (first.text, first.turn_id) == (again.text, again.turn_id)
    assert (await client.session("twice")).turns == 1


async def test_stream_of_what_was_sent_gives_each_piece_once_and_ends(client: Client) -> None:
    """From the message's own cursor: begun late, nothing is missed."""
    sent = await client.send("stream", "fast hello there")
    await client.answer(sent)
    parts = [part async for part in client.stream(sent)]
    assert (parts[0].kind, parts[-1].outcome) == ("started", "completed")
    assert "".join(part.text for part in parts) == parts[-1].token.text == "fast hello there!"
    assert [part.cursor.offset for part in parts] == sorted({part.cursor.offset for part in parts})


async def test_stream_of_a_session_follows_turn_after_turn(client: Client) -> None:
    """From the moment at which it is entered."""
    await client.ask("follow", "fast before")
    async with client.stream("follow") as parts:
        for text in ("fast one", "fast two"):
            await client.send("follow", text)
        ended = []
        while len(ended) < 2:
            part = await anext(parts)
            ended += [part.token.text] if part.outcome else []
    assert ended == ["fast one!", "fast two!"]


async def test_stream_with_a_cursor_of_another_session_is_refused(client: Client, served: Deployment) -> None:
    """It would give nothing, for ever."""
    ada, bob = served.session_on(0), served.session_on(1)
    with pytest.raises(CursorError, match="another session"):
        client.stream(ada, after=str(Cursor(1, 0)))
    assert client.stream(bob, after=str(Cursor(1, -1)))


async def test_slow_stream_is_cut_off_and_resumed(client: Client) -> None:
    """Nobody waits for it, and it misses nothing. Slow: it has read nothing between one answer and the next."""
    async with client.stream("slow", buffer=8, is_patient=False) as parts:
        answers = [await client.ask("slow", f"fast words {number}") for number in range(8)]
        said: list[str] = []

        async def read_all() -> None:
            async for part in parts:
                said.append(part.text)  # noqa: PERF401 -- what came before the error counts

        with pytest.raises(SlowSubscriberError) as cut:
            await read_all()
        assert 0 < len(said) < 3 * len(answers)
    async with client.stream("slow", after=cut.value.cursor) as rest:
        async for part in rest:
            said.append(part.text)
            if part.token.turn_id == answers[-1].turn_id and part.outcome is not None:
                break
    assert "".join(said) == "".join(answer.text for answer in answers)


async def test_ask_failed_rejected_and_cancelled_are_typed_errors(client: Client) -> None:
    """Each with its ids and its cause."""
    with pytest.raises(MessageRejectedError, match="unknown_agent") as rejected:
        await client.ask("wrong", "fast hi", agent="nobody")
    assert (rejected.value.cause, rejected.value.session_id) == ("unknown_agent", "wrong")
    sent = await client.send("wrong", "hang here")
    waiting = asyncio.create_task(client.answer(sent))
    async with client.stream(sent) as parts:
        async for part in parts:
            if part.text:
                await client.cancel(sent, reason="enough")
                break
    with pytest.raises(TurnCancelledError) as cancelled:
        await waiting
    assert cancelled.value.text == "never"
    assert cancelled.value.detail == "enough"
    with pytest.raises(TurnFailedError) as failed:
        await client.ask("wrong", "hang please", deadline_ms=300)
    assert (failed.value.cause, failed.value.turn_id != sent.turn_id) == ("turn_timeout", True)


async def test_ask_that_takes_too_long_says_where_to_go_on(client: Client) -> None:
    """The message is in Kafka, and goes on."""
    with pytest.raises(AnswerTimeoutError, match="not finished") as late:
        await client.ask("late", "hang here", message_id="m-3", timeout=0.4)
    rest = client.stream("late", turn_id=turn_id_for("late", "m-3"), after=late.value.cursor)
    await client.cancel("late", message_id="m-3")
    assert [part.outcome async for part in rest][-1] == "cancelled"


async def test_send_many_one_failure_does_not_fail_the_rest(client: Client) -> None:
    """Results and errors in order, progress after each batch."""
    messages: list[Message | tuple[str, str]] = [("many", f"fast {number}") for number in range(10)]
    messages[3] = Message(session_id="many", text="x" * 2_000_000)
    messages[7] = ("a/b", "fast 7")
    messages[8] = ("many",)  # type: ignore[assignment]
    messages[9] = (None, "fast 9")  # type: ignore[assignment]
    done: list[int] = []
    results = await client.send_many(messages, batch_size=4, on_progress=done.append)
    assert done == [4, 8, 10]
    assert isinstance(results[3], RecordTooLargeError)
    assert all(isinstance(result, InvalidMessageError) for result in results[7:])
    sent = [result for result in results if isinstance(result, Sent)]
    assert [one.offset for one in sent] == sorted(one.offset for one in sent)
    assert len(sent) == 6
    answers = [(await client.answer(one)).text for one in sent]
    assert answers == [f"fast {number}!" for number in range(10) if number not in {3, 7, 8, 9}]


async def test_on_token_errors_are_logged_and_stop_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """In order, sync or async, all called before ask() returns."""
    heard: list[str] = []

    async def hear(part: Part) -> None:
        await asyncio.sleep(0.001)
        heard.append(part.text)
        raise RuntimeError("the screen is broken")

    answer = await client.ask("heard", "medium words", on_token=hear)
    assert "".join(heard) == answer.text == "a b c d e f"
    assert caplog.text.count("on_token failed") == len(heard)
    again: list[str] = []
    await client.ask("heard", "medium words", on_token=lambda part: again.append(part.text))
    assert "".join(again) == "a b c d e f"


async def test_slow_on_token_gets_every_piece(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream is cut off behind its back and goes on by itself; the queue stays bounded.

    Fails with ``is_patient=False`` in ``answer``, and with a queue or a buffer that holds the whole answer.
    """
    subscriptions: list[Subscription] = []
    subscribe = FanOut.subscribe

    async def counted(*args: Any, **options: Any) -> Subscription:
        subscriptions.append(await subscribe(*args, **options))
        return subscriptions[-1]

    monkeypatch.setattr(FanOut, "subscribe", counted)
    monkeypatch.setattr("barnabas.client.callback.QUEUED", 2)
    monkeypatch.setattr("barnabas.client.client.BUFFER_RECORDS", 2)
    monkeypatch.setattr(Subscription, "is_slow", True)  # however many records come at once
    heard: list[str] = []

    async def hear(part: Part) -> None:
        if subscriptions[0]._mode is _Mode.LIVE:  # what is read of the past waits for its reader
            await eventually(lambda: subscriptions[0].is_cut)
        heard.append(part.text)

    sent = await client.send("slowly", "endless words")
    answering = asyncio.create_task(client.answer(sent, on_token=hear))
    await eventually(lambda: len(subscriptions) > 1)
    await client.cancel(sent)
    with pytest.raises(TurnCancelledError) as cancelled:
        await answering
    assert "".join(heard) == cancelled.value.text


async def test_slow_sync_on_token_slows_nobody_else(client: Client) -> None:
    """It sits in a call while another one is answered."""
    may = threading.Event()
    slow = asyncio.create_task(client.ask("sitting", "fast hi", on_token=lambda _part: may.wait(DEADLINE_S)))
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert (await client.ask("standing", "fast hi")).text == "fast hi!"
        assert not slow.done()
    finally:
        may.set()
    assert (await slow).text == "fast hi!"


async def test_close_during_an_answer_says_where_to_go_on(served: Deployment) -> None:
    """The message is in Kafka: another client gets the rest."""
    async with client_of(served) as opened:
        sent = await opened.send("shut", "hang here")
        begun = asyncio.Event()

        async def hear(part: Part) -> None:
            if part.text:
                begun.set()

        waiting = asyncio.create_task(opened.answer(sent, on_token=hear))
        await begun.wait()
    with pytest.raises(ClientError, match="closed") as closed:
        await waiting
    async with client_of(served) as opened:
        after = str(closed.value).rpartition(" ")[2]
        await opened.cancel(sent)
        rest = [part async for part in opened.stream("shut", turn_id=sent.turn_id, after=after)]
    assert rest[-1].outcome == "cancelled"


async def test_stream_left_by_break_is_forgotten(client: Client) -> None:
    """The fan-out holds it no longer, although nobody closed it."""
    sent = await client.send("left", "medium words")
    async for part in client.stream(sent):
        if part.text:
            break
    gc.collect()
    await asyncio.sleep(0)
    places = client._readers()._partitions.values()
    assert not [one for place in places for one in place.everyone if one.key == b"left"]
    await client.answer(sent)


async def test_many_streams_over_one_client(client: Client) -> None:
    """2,000 at once, each with its own session, one reader."""
    before = threading.active_count()
    sent = await client.send_many((f"crowd-{number}", f"fast {number}") for number in range(2000))
    assert not [one for one in sent if isinstance(one, BarnabasError)]
    answers = await asyncio.gather(*(client.answer(one, timeout=90) for one in sent if isinstance(one, Sent)))
    assert [answer.text for answer in answers] == [f"fast {number}!" for number in range(2000)]
    assert threading.active_count() <= before + 10


async def test_erase_empties_the_memory_in_order(client: Client) -> None:
    """What follows begins anew; a transcript as well."""
    await client.ask("erased", "fast secret")
    erased = await client.erase("erased", reason="asked for")
    assert [part.outcome async for part in client.stream(erased)] == ["completed"]
    assert (await client.session("erased")).memory == ()
    assert "secret" not in await client.transcript("erased")


async def test_traceparent_of_the_running_span_is_carried(client: Client, served: Deployment) -> None:
    """And CloudEvents, from whoever sends."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    with trace.use_span(TracerProvider().get_tracer("t").start_span("asked")) as span:
        sent = await client.send("traced", "fast hi", message_id="m-4")
    reader = served.reader(served.names.messages)
    await asyncio.to_thread(reader.read_to_end)
    (record,) = [r for r in reader.records if (r.partition, r.offset) == (sent.partition, sent.offset)]
    headers = dict(record.headers)
    assert (headers["ce_type"], headers["ce_id"]) == (b"barnabas.UserMessage", b"m-4")
    assert f"{span.get_span_context().trace_id:032x}" in headers["traceparent"].decode()


async def test_client_used_in_another_loop_or_not_entered_says_so(client: Client, served: Deployment) -> None:
    """Instead of a hang."""
    with pytest.raises(ClientError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(client.ask("loop", "fast hi")))
    with pytest.raises(ClientError, match="async with"):
        await client_of(served).ask("loop", "fast hi")


def test_client_works_under_uvloop(served: Deployment) -> None:
    """Any loop will do."""

    async def main() -> str:
        async with client_of(served) as opened:
            return (await opened.ask("uvloop", "fast hi")).text

    assert uvloop.run(main()) == "fast hi!"


async def test_sync_client_inside_a_running_loop(served: Deployment) -> None:
    """As in a notebook: nothing here awaits."""
    with SyncClient(
        bootstrap_servers=served.bootstrap_servers, prefix=served.names.prefix, data_dir=served.folder / "sync"
    ) as opened:
        heard: list[str] = []
        answer = opened.ask("sync", "fast hi", on_token=lambda part: heard.append(part.text))
        assert (answer.text, "".join(heard)) == ("fast hi!", "fast hi!")
        assert "".join(part.text for part in opened.stream(opened.send("sync", "fast you"))) == "fast you!"
        assert [type(one.event).__name__ for one in opened.events("sync")] == ["TurnStarted", "TurnCompleted"] * 2
        assert opened.session("sync").turns == 2
        with pytest.raises(MessageRejectedError):
            opened.ask("sync", "fast hi", agent="nobody")
    with pytest.raises(ClientError):
        opened.ask("sync", "fast hi")


async def test_close_ends_what_runs(served: Deployment) -> None:
    """No thread and no task is left."""
    threads = own_threads()
    tasks = len(asyncio.all_tasks())
    async with client_of(served) as opened:
        await opened.ask("closed", "fast hi", on_token=lambda _part: None)
        await opened.session("closed")
        assert own_threads() > threads
        waiting = asyncio.create_task(collect_all(opened, "closed"))
        async with asyncio.timeout(DEADLINE_S):
            while not any(place.everyone for place in opened._readers()._partitions.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert await waiting == []
    assert len(asyncio.all_tasks()) == tasks
    assert own_threads() == threads


def own_threads() -> set[threading.Thread]:
    """Return the clients' threads; the loop's own executor keeps others."""
    return {one for one in threading.enumerate() if one.name.startswith("barnabas")}


async def collect_all(client: Client, session: str) -> list[Part]:
    """Take a stream to its end."""
    return [part async for part in client.stream(session)]
