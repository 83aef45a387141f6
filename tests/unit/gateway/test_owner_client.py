"""A worker that has no time is told from one that is dead; its answers come as the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from barnabas.gateway import owner_client
from barnabas.gateway.owner_client import OwnerClient, Unserved
from barnabas.gateway.owners import Owners
from barnabas.gateway.reads import Reads
from schemas.errors import SessionUnavailableError
from streams.options import ReadOptions
from streams.reading.views import SessionAnswer, Standing
from tests.support.waiting import eventually
from topics.members import Member

ADA, BOB = Member("ada", "http://127.0.0.1:1"), Member("bob", "http://127.0.0.1:2")
ANSWER = SessionAnswer(standing=Standing(partition=0, worker="ada", epoch=0, folded=0, end=0), session=None)


class ToldHttp:
    """Answers a question when the test says how, by the session that is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.said: dict[str, asyncio.Future[Exception | None]] = {}

    def get(self, _url: str, *, params: dict[str, str], **_options: Any) -> ToldHttp._Request:
        """As :meth:`aiohttp.ClientSession.get`."""
        return self._Request(self, params["key"])

    async def close(self) -> None:
        """As a session's."""

    def say(self, key: str, error: Exception | None = None) -> None:
        """Answer, or not."""
        self._future(key).set_result(error)

    def _future(self, key: str) -> asyncio.Future[Exception | None]:
        return self.said.setdefault(key, asyncio.get_running_loop().create_future())

    class _Request:
        def __init__(self, http: ToldHttp, key: str) -> None:
            self._http, self._key = http, key

        async def __aenter__(self) -> Any:
            self._http.asked.append(self._key)
            error = await self._http._future(self._key)
            if error is not None:
                raise error

            async def read() -> bytes:
                return msgspec.json.encode(ANSWER)

            return SimpleNamespace(status=200, read=read)

        async def __aexit__(self, *_error: object) -> None:
            pass


@pytest.fixture
async def http() -> ToldHttp:
    """Give what answers."""
    return ToldHttp()


@pytest.fixture
async def client(http: ToldHttp) -> AsyncIterator[OwnerClient]:
    """Give a client of it."""
    made = OwnerClient(ReadOptions(), "t")
    await made.close()
    made._http = http  # type: ignore[assignment]
    yield made
    assert not made._lines


async def begun(client: OwnerClient, member: Member, key: str) -> asyncio.Task[SessionAnswer | Unserved]:
    """Ask, as far as one gets without an answer."""
    task = asyncio.create_task(client.session(member, key.encode()))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_burst_waits_for_a_place(client: OwnerClient, http: ToldHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order; a wait for a place is none for the answer, and holds up no other worker."""
    monkeypatch.setattr(owner_client, "_AT_ONCE", 2)
    monkeypatch.setattr(owner_client, "_QUEUE_S", 3600.0)
    tasks = [await begun(client, ADA, key) for key in "abc"]
    other = await begun(client, BOB, "d")
    assert http.asked == ["a", "b", "d"]
    for key in "badc":
        http.say(key)
    assert await asyncio.gather(*tasks, other) == [ANSWER] * 4


async def test_wait_for_a_place_ends_and_says_nothing_of_the_worker(
    client: OwnerClient, http: ToldHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers another one at the time."""
    monkeypatch.setattr(owner_client, "_AT_ONCE", 1)
    monkeypatch.setattr(owner_client, "_QUEUE_S", 0.01)
    first = await begun(client, ADA, "a")
    assert await client.session(ADA, b"b") is Unserved.BUSY
    http.say("a")
    assert await first == ANSWER


async def test_worker_that_answers_others_is_busy_not_dead(client: OwnerClient, http: ToldHttp) -> None:
    """A time-out counts where nobody was answered meanwhile. Fails where each counts."""
    waits = await begun(client, ADA, "waits")
    http.say("quick")
    assert await client.session(ADA, b"quick") == ANSWER
    http.say("waits", TimeoutError())
    assert await waits is Unserved.BUSY
    http.say("alone", TimeoutError())
    assert await client.session(ADA, b"alone") is Unserved.DOWN


async def test_worker_that_refuses_a_connection_is_dead_whatever_it_answered(
    client: OwnerClient, http: ToldHttp
) -> None:
    """It was killed in between."""
    waits = await begun(client, ADA, "waits")
    http.say("quick")
    assert await client.session(ADA, b"quick") == ANSWER
    http.say("waits", ConnectionRefusedError())
    assert await waits is Unserved.DOWN


async def test_who_waits_for_a_place_of_a_dead_worker_hears_of_it(
    client: OwnerClient, http: ToldHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each in turn would find out for itself, and take its time."""
    monkeypatch.setattr(owner_client, "_AT_ONCE", 1)
    monkeypatch.setattr(owner_client, "_QUEUE_S", 3600.0)
    first, second = await begun(client, ADA, "a"), await begun(client, ADA, "b")
    http.say("a", ConnectionRefusedError())
    assert await asyncio.wait_for(asyncio.gather(first, second), 60) == [Unserved.DOWN] * 2
    assert http.asked == ["a"]


async def test_busy_owner_is_not_gone_around(client: OwnerClient, http: ToldHttp) -> None:
    """The caller is told to come back: the log would take more of everybody's time, and the owner stays known."""
    owners = Owners(lambda: {0: ADA})
    connection: Any = SimpleNamespace(partition_of=lambda _key: 0, partitions=1)
    log: Any = None
    letters: Any = None
    reads = Reads(connection, owners, client, log, letters=letters, sources=Counter())
    waits = asyncio.create_task(reads.session(b"waits"))
    await eventually(lambda: "waits" in http.asked, 60)
    http.say("quick")
    assert await client.session(ADA, b"quick") == ANSWER
    http.say("waits", TimeoutError())
    with pytest.raises(SessionUnavailableError, match="busy"):
        await waits
    assert await owners.of(0) == ADA
