"""``WS /sessions/{id}/ws`` with the ``websockets`` package's client: the stream's events, and orders the other way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway.streams.conftest import GatewayProcess, StartGateway
from tests.support.deployment import Deployment
from tests.support.event_source import EventSource, has
from tests.support.patience import CONDITION_S
from topics.partitioner import partition_for


class Talker:
    """What a connection has given so far: events, and the rest."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self.others: list[dict[str, Any]] = []

    async def say(self, **order: object) -> None:
        """Send an order."""
        await self.connection.send(json.dumps(order))

    async def until(self, condition: Callable[[], object]) -> None:
        """Take what comes until it is so."""
        async with asyncio.timeout(CONDITION_S):
            while not condition():
                told = json.loads(await self.connection.recv())
                (self.events if "kind" in told else self.others).append(told)

    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [event["kind"] for event in self.events]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What is no event, of one type."""
        return [other for other in self.others if other["type"] == kind]


async def closing(connection: ClientConnection) -> tuple[int, str]:
    """Take what still comes; return how the other side closed it."""
    async with asyncio.timeout(CONDITION_S):
        with suppress(ConnectionClosed):
            while True:
                await connection.recv()
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


async def test_conversation(gateway: GatewayProcess, session: str) -> None:
    """Two messages and their answers over one connection, and the same events as over SSE."""
    async with connect(gateway.websocket(session)) as connection:
        talker = Talker(connection)
        await talker.until(lambda: talker.told("open"))
        await talker.say(type="message", text="fast one", message_id="m1")
        await talker.until(lambda: "completed" in talker.kinds())
        await talker.say(type="message", text="fast two")
        await talker.until(lambda: talker.kinds().count("completed") == 2 and len(talker.told("accepted")) == 2)
    first, second = talker.told("accepted")
    assert first["message_id"] == "m1"
    assert [event["text"] for event in talker.events if event["kind"] == "completed"] == ["fast one!", "fast two!"]
    assert {event["turn_id"] for event in talker.events} == {first["turn_id"], second["turn_id"]}
    reader = EventSource()
    async with reader.connect(gateway.stream(session, f"?after={talker.told('open')[0]['cursor']}")) as response:
        await reader.take(response, has("completed", 2))
    assert [{**taken.json, "cursor": taken.id} for taken in reader.events] == talker.events


async def test_cursor_goes_on_where_the_connection_broke(gateway: GatewayProcess, session: str) -> None:
    """``?after=``; leaving cancelled nothing."""
    async with connect(gateway.websocket(session)) as connection:
        before = Talker(connection)
        await before.say(type="message", text="medium one")
        await before.until(lambda: before.kinds().count("delta") == 2)
    async with connect(gateway.websocket(session, f"?after={before.events[-1]['cursor']}")) as connection:
        behind = Talker(connection)
        await behind.until(lambda: "completed" in behind.kinds())
    events = before.events + behind.events
    assert [event["index"] for event in events] == [*range(len(events))]
    assert "".join(event["text"] for event in events if event["kind"] == "delta") == events[-1]["text"] == "a b c d e f"


async def test_cancel_ends_the_turn(gateway: GatewayProcess, session: str) -> None:
    """Over the same connection, in its middle."""
    async with connect(gateway.websocket(session)) as connection:
        talker = Talker(connection)
        await talker.say(type="message", text="hang for ever", message_id="m1")
        await talker.until(lambda: "delta" in talker.kinds())
        await talker.say(type="cancel", message_id="m1", reason="enough")
        await talker.until(lambda: "cancelled" in talker.kinds())
    assert talker.told("cancelling") == [{"type": "cancelling", "session_id": session, "message_id": "m1"}]
    assert talker.events[-1]["detail"] == "enough"


async def test_wrong_order_is_answered_and_ends_nothing(gateway: GatewayProcess, session: str) -> None:
    """No JSON, no such type, a field too many, nothing to cancel."""
    async with connect(gateway.websocket(session)) as connection:
        talker = Talker(connection)
        await connection.send("{")
        await talker.say(type="shout", text="x")
        await talker.say(type="message", text="x", colour="red")
        await talker.say(type="cancel")
        await talker.until(lambda: len(talker.told("problem")) == 4)
        await talker.say(type="message", text="fast one")
        await talker.until(lambda: "completed" in talker.kinds())
    assert [(told["status"], told["code"]) for told in talker.told("problem")] == [
        (400, "malformed_json"), (422, "invalid_body"), (422, "invalid_body"), (422, "invalid_body"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?after=yesterday", (4400, "cursor")),
        ("?after={other}:5:1", (4400, "cursor")),
        ("?after={own}:5000000:1", (4410, "cursor_expired: begin at {own}:")),
    ],
)
async def test_impossible_cursor_closes_with_a_reason(
    served: Deployment, gateway: GatewayProcess, session: str, query: str, expected: tuple[int, str]
) -> None:
    """4000 and the status of the problem that is told first."""
    own = partition_for(session.encode(), served.partitions)
    places = {"own": own, "other": (own + 1) % served.partitions}
    async with connect(gateway.websocket(session, query.format(**places))) as connection:
        told = json.loads(await connection.recv())
        code, reason = await closing(connection)
    assert (told["type"], told["status"] + 4000) == ("problem", expected[0])
    assert code == expected[0]
    assert reason.startswith(expected[1].format(**places))


async def test_bytes_are_refused(gateway: GatewayProcess, session: str) -> None:
    """1003: messages are text."""
    async with connect(gateway.websocket(session)) as connection:
        await connection.send(b"\x00")
        assert (await closing(connection))[0] == 1003


async def test_silence_is_broken(gateway: GatewayProcess, session: str) -> None:
    """By a sign of life with a cursor to go on from."""
    async with connect(gateway.websocket(session)) as connection:
        talker = Talker(connection)
        await talker.until(lambda: talker.told("alive"))
    assert talker.told("alive")[0]["cursor"].startswith(talker.told("open")[0]["cursor"].split(":")[0])


async def test_gateway_that_stops_says_so(served: Deployment, start_gateway: StartGateway, session: str) -> None:
    """1012, and nothing of the query in its log."""
    leaving = start_gateway(served)
    async with connect(leaving.websocket(session, "?access_token=hush-hush")) as connection:
        talker = Talker(connection)
        await talker.until(lambda: talker.told("open"))
        ended = asyncio.create_task(asyncio.to_thread(leaving.stop))
        assert (await closing(connection))[0] == 1012
        assert await ended == 0
    assert "hush-hush" not in leaving.log.read_text()
