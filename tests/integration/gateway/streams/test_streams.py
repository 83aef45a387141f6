"""``GET /sessions/{id}/stream`` with a real worker, a real Kafka and a gateway of its own process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from barnabas.cursor import Cursor
from schemas.attempt import Attempt
from schemas.ids import turn_id_for
from schemas.serdes import Codec
from schemas.tokens import Token, TokenKind
from tests.integration.gateway.streams.conftest import GatewayProcess, StartGateway
from tests.support.deployment import Deployment
from tests.support.event_source import EventSource, has, transcript
from tests.support.patience import ANSWER_S, CONDITION_S
from topics.partitioner import partition_for

BEGINNING = "?after=beginning"

#: Records of 1.5 KB: more than what the gateway, the kernel and the client hold together.
FLOOD = 1200
#: Fewer than what one reader may leave unread.
PIECE = 60


def publish(served: Deployment, session: str, text: str, message_id: str | None = None) -> None:
    """Publish a message and wait for the broker's word."""
    served.publish(session, text, message_id=message_id)
    served.flush()


async def test_answer_comes_as_events(served: Deployment, gateway: GatewayProcess, session: str) -> None:
    """Named after their kinds, each with its cursor as its id; lines of an answer stay lines."""
    reader = EventSource()
    async with reader.connect(gateway.stream(session)) as response:
        publish(served, session, "fast two\nlines", "m1")
        await reader.take(response, has("completed"))
    started, delta, completed = reader.events
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
    assert (started.event, delta.event, completed.event) == ("started", "delta", "completed")
    assert delta.json["text"] == completed.json["text"] == "fast two\nlines!"
    assert completed.json["session_id"] == session
    assert completed.json["turn_id"] == turn_id_for(session, "m1")
    assert "cursor" not in completed.json
    cursors = [Cursor.parse(taken.id) for taken in reader.events]
    assert [cursor.offset for cursor in cursors] == sorted({cursor.offset for cursor in cursors})
    assert {cursor.partition for cursor in cursors} == {partition_for(session.encode(), served.partitions)}
    assert reader.retry_ms is not None


async def test_two_readers_of_a_session_have_the_same(
    served: Deployment, gateway: GatewayProcess, session: str
) -> None:
    """And one who comes late and asks for the beginning."""
    first, second, late = EventSource(), EventSource(), EventSource()
    async with first.connect(gateway.stream(session)) as one, second.connect(gateway.stream(session)) as two:
        publish(served, session, "hello")
        await asyncio.gather(first.take(one, has("completed")), second.take(two, has("completed")))
    async with late.connect(gateway.stream(session, BEGINNING)) as response:
        await late.take(response, has("completed"))
    assert first.events == second.events == late.events


async def test_leaving_cancels_nothing_and_the_rest_is_there(
    served: Deployment, gateway: GatewayProcess, session: str
) -> None:
    """The header stands above ``after``: a browser comes back with the address that it first had."""
    reader, whole = EventSource(), EventSource()
    async with reader.connect(gateway.stream(session, BEGINNING)) as response:
        publish(served, session, "medium one")
        await reader.take(response, has("delta", 2))
    async with reader.connect(gateway.stream(session, BEGINNING)) as response:
        await reader.take(response, has("completed"))
    async with whole.connect(gateway.stream(session, BEGINNING)) as response:
        await whole.take(response, has("completed"))
    assert reader.events == whole.events
    assert transcript(reader.events).endswith("a b c d e f\ncompleted\n\n")


async def test_stream_of_one_turn_ends_with_it(served: Deployment, gateway: GatewayProcess, session: str) -> None:
    """By the message's id or the turn's; who comes back behind the end is told to stay away (204)."""
    publish(served, session, "fast one", "m1")
    publish(served, session, "fast two", "m2")
    for query in ("&message_id=m2", f"&turn={turn_id_for(session, 'm2')}"):
        reader = EventSource()
        async with reader.connect(gateway.stream(session, BEGINNING + query)) as response:
            assert await reader.take(response)
        assert [taken.event for taken in reader.events] == ["started", "delta", "completed"]
        assert reader.events[-1].json["text"] == "fast two!"
        async with reader.connect(gateway.stream(session, query.replace("&", "?"))) as response:
            assert response.status_code == 204


async def test_silence_is_broken_by_comments_that_move_the_cursor(
    served: Deployment, gateway: GatewayProcess, session: str
) -> None:
    """A session that is quiet for longer than tokens are kept can be resumed all the same."""
    reader = EventSource()
    neighbour = served.session_on(partition_for(session.encode(), served.partitions), tag=f"n-{session}")
    async with reader.connect(gateway.stream(session)) as response:
        await reader.take(response, lambda source: source.comments)
        before = Cursor.parse(reader.last_event_id)
        publish(served, neighbour, "fast one")
        await reader.take(response, lambda source: Cursor.parse(source.last_event_id).offset >= before.offset + 3)
        publish(served, session, "fast two")
        await reader.take(response, has("completed"))
    assert [taken.event for taken in reader.events] == ["started", "delta", "completed"]
    resumed = EventSource()
    resumed.last_event_id = str(before)
    async with resumed.connect(gateway.stream(session)) as response:
        await resumed.take(response, has("completed"))
    assert resumed.events == reader.events


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?after=yesterday", (400, "cursor")),
        ("?after=1:2", (400, "cursor")),
        ("?after={other}:5:1", (400, "cursor")),
        ("?after={own}:5000000:1", (410, "cursor_expired")),
        ("?turn=a&message_id=b", (422, "invalid_parameter")),
        ("?after=beginning&after=1:2:3", (422, "invalid_parameter")),
    ],
)
async def test_impossible_request_is_a_problem(
    served: Deployment, gateway: GatewayProcess, session: str, query: str, expected: tuple[int, str]
) -> None:
    """At once, and not an event stream."""
    own = partition_for(session.encode(), served.partitions)
    query = query.format(own=own, other=(own + 1) % served.partitions)
    async with httpx.AsyncClient(timeout=ANSWER_S) as client:
        answer = await client.get(gateway.stream(session, query))
    assert (answer.status_code, answer.json()["code"]) == expected
    assert answer.headers["content-type"] == "application/problem+json"


async def test_cursor_past_retention_is_gone_and_says_where_to_begin(
    served: Deployment, gateway: GatewayProcess
) -> None:
    """410 with ``earliest``, from which what is left can be read."""
    partition = 3
    session = served.session_on(partition, tag="old")
    publish(served, session, "fast one", "m1")
    reader = EventSource()
    async with reader.connect(gateway.stream(session, BEGINNING)) as response:
        await reader.take(response, has("completed"))
    offsets = [Cursor.parse(taken.id).offset for taken in reader.events]
    admin = AdminClient({"bootstrap.servers": served.bootstrap_servers})
    kept = TopicPartition(served.names.tokens, partition, offsets[1] + 1)
    await asyncio.to_thread(lambda: [future.result() for future in admin.delete_records([kept]).values()])
    answer = await _until_gone(gateway.stream(session, f"?after={partition}:{offsets[0] - 1}:-1"))
    assert answer["earliest"] == f"{partition}:{offsets[1]}:-1"
    late = EventSource()
    async with late.connect(gateway.stream(session, f"?after={answer['earliest']}")) as response:
        await late.take(response, has("completed"))
    assert late.events == reader.events[2:]


async def _until_gone(url: str) -> dict[str, str]:
    """Ask until the gateway knows: it asks for a topic's bounds once a second."""
    async with httpx.AsyncClient(timeout=ANSWER_S) as client, asyncio.timeout(CONDITION_S):
        while True:
            async with client.stream("GET", url) as response:
                if response.status_code == 410:
                    told: dict[str, str] = json.loads(await response.aread())
                    return told
            await asyncio.sleep(0.1)


@pytest.fixture
def flood(served: Deployment) -> Iterator[Callable[[str, range], None]]:
    """Give a function that writes some of the flood's long token records of a session, as a fast worker would."""
    codec = Codec()

    def write(session: str, indexes: range) -> None:
        for index in indexes:
            kind = TokenKind.STARTED if not index else TokenKind.COMPLETED if index == FLOOD - 1 else TokenKind.DELTA
            token = Token(
                session_id=session, turn_id="t", message_id="m", attempt=Attempt(0, 0), epoch=0, index=index, kind=kind,
                text=f"{index} " * 300, occurred_at=0,
            )  # fmt: skip
            served.produce(served.names.tokens, codec.encode(token, topic=served.names.tokens), session.encode())
        served.flush()

    yield write
    served.flush()


async def test_reader_that_reads_nothing_is_cut_off_and_can_go_on(
    served: Deployment, start_gateway: StartGateway, session: str, flood: Callable[[str, range], None]
) -> None:
    """Its connection is closed, what waited for it is let go, and behind its last event everything follows.

    Fails with ``BARNABAS_TEST_OFF=send_timeout``.
    """
    gateway = start_gateway(served, send_timeout_s=1)
    lazy = _LazyReader(gateway, session)
    try:
        flood(session, range(FLOOD))
        await asyncio.to_thread(
            served.wait, lambda: _open_streams(gateway) == 0, "the gateway lets go of who reads nothing"
        )
        reader = lazy.rest()
    finally:
        lazy.close()
    assert 0 < len(reader.events) < FLOOD
    async with reader.connect(gateway.stream(session)) as response:
        await reader.take(response, has("completed"))
    assert [taken.json["index"] for taken in reader.events] == [*range(FLOOD)]


class _LazyReader:
    """A client that asks, and then reads nothing."""

    def __init__(self, gateway: GatewayProcess, session: str) -> None:
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((host, int(port)))
        self._socket.settimeout(CONDITION_S)
        request = f"GET /sessions/{session}/stream HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        self._socket.sendall(request.encode())
        self._taken = self._socket.recv(64)
        assert self._taken.startswith(b"HTTP/1.1 200")

    def rest(self) -> EventSource:
        """Read what had got as far as this side, to the end that the gateway made."""
        deadline = time.monotonic() + CONDITION_S
        try:
            while part := self._socket.recv(65536):
                self._taken += part
                assert time.monotonic() < deadline, "the gateway goes on"
        except ConnectionResetError:
            pass
        reader = EventSource()
        body = self._taken.partition(b"\r\n\r\n")[2]
        while body:
            size, _, body = body.partition(b"\r\n")
            length = int(size, 16)
            reader.feed(body[:length])
            body = body[length + 2 :]
        return reader

    def close(self) -> None:
        """End it."""
        self._socket.close()


def _open_streams(gateway: GatewayProcess) -> float:
    shown = httpx.get(f"{gateway.url}/metrics", timeout=ANSWER_S).text
    (line,) = [line for line in shown.splitlines() if line.startswith('barnabas_gateway_open_streams{kind="sse"}')]
    return float(line.rpartition(" ")[2])


async def test_slow_reader_is_told_that_it_was_cut_off(
    served: Deployment, start_gateway: StartGateway, session: str, flood: Callable[[str, range], None]
) -> None:
    """Its buffer is full; when it reads again it gets what was in it, then the reason, and comes back for the rest."""
    gateway = start_gateway(served, send_timeout_s=600)
    lazy, quick = _LazyReader(gateway, session), EventSource()
    try:
        async with quick.connect(gateway.stream(session, BEGINNING)) as watched:
            for begin in range(0, FLOOD, PIECE):  # all at once would have it set aside: it could not read in between
                flood(session, range(begin, begin + PIECE))
                await quick.take(watched, lambda source, end=begin + PIECE: len(source.events) >= end)
        reader = await asyncio.to_thread(lazy.rest)
    finally:
        lazy.close()
    problem = reader.events.pop()
    assert (problem.event, problem.json["code"]) == ("problem", "slow_subscriber")
    assert problem.id == reader.events[-1].id == reader.last_event_id
    async with reader.connect(gateway.stream(session)) as response:
        await reader.take(response, has("completed"))
    assert [taken.json["index"] for taken in reader.events] == [*range(FLOOD)]


async def test_gateway_that_stops_ends_its_streams_for_others_to_take_over(
    served: Deployment, gateway: GatewayProcess, start_gateway: StartGateway, session: str
) -> None:
    """In order and at once; nothing of what is secret in a query was logged."""
    leaving = start_gateway(served, drain_timeout_s=5)
    reader, whole = EventSource(), EventSource()
    async with (
        whole.connect(gateway.stream(session, BEGINNING)) as watched,
        reader.connect(leaving.stream(session, f"{BEGINNING}&access_token=hush-hush")) as response,
    ):
        publish(served, session, "medium one")
        await reader.take(response, has("delta", 2))
        leaving.send(signal.SIGTERM)
        assert await reader.take(response)
        assert await asyncio.to_thread(leaving.wait) == 0
        async with reader.connect(gateway.stream(session)) as again:
            await asyncio.gather(reader.take(again, has("completed")), whole.take(watched, has("completed")))
    assert reader.events == whole.events
    assert "hush-hush" not in leaving.log.read_text()


def test_curl_shows_an_answer_as_it_comes(served: Deployment, gateway: GatewayProcess, session: str) -> None:
    """``curl -N``, to the turn's end."""
    publish(served, session, "fast one", "m1")
    url = gateway.stream(session, f"{BEGINNING}&message_id=m1")
    shown = subprocess.run(["curl", "-sN", "--max-time", "30", url], capture_output=True, check=True, text=True).stdout
    assert "event: delta\ndata: {" in shown
    assert '"text":"fast one!"' in shown
