"""Who a worker's read interface answers, and who not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from pydantic import SecretStr

from schemas.errors import SettingsError
from streams.environment import Environment
from streams.lease import Lease
from streams.options import ReadOptions
from streams.ownership import Ownership
from streams.partition import Partition
from streams.reading.server import ReadServer
from streams.reading.table_reads import Refusal, TableReads
from streams.reading.views import WORKER_HEADER

SECRET = "0123456789abcdef"

Ask = Callable[..., Any]


async def _serving(options: ReadOptions) -> AsyncIterator[Ask]:
    """Run a server of a worker that owns nothing; gives what asks it and returns the status."""
    env = cast("Environment", SimpleNamespace(lease=Lease(6.0), partitions=4, worker="w1"))
    server = ReadServer(options, worker="w1", prefix="p")
    await server.start(TableReads(env, Ownership(env), lambda: None), lambda _window_s: cast("Any", None))
    async with aiohttp.ClientSession() as http:

        async def ask(path: str = "/session?key=a", **headers: str) -> int:
            named = {WORKER_HEADER: "p/w1", **{name.replace("_", "-"): value for name, value in headers.items()}}
            async with http.get(server.url + path, headers=named) as answer:
                return answer.status

        yield ask
    await server.close()


@pytest.fixture
async def open_server() -> AsyncIterator[Ask]:
    """Give a server on loopback, as it is by default."""
    async for ask in _serving(ReadOptions()):
        yield ask


@pytest.fixture
async def guarded_server() -> AsyncIterator[Ask]:
    """Give one with a secret."""
    async for ask in _serving(ReadOptions(secret=SecretStr(SECRET))):
        yield ask


async def test_partition_of_another_is_misdirected(open_server: Ask) -> None:
    """421: the gateway looks for the owner again."""
    assert await open_server() == 421
    assert await open_server("/sessions?partitions=0,1&limit=5") == 200  # says of each that it is not its own


async def test_worker_whose_lease_is_over_owns_nothing() -> None:
    """A frozen one that wakes is asked before it hears of its loss: what it has is from the past."""
    now = 100.0
    lease = Lease(6.0, clock=lambda: now)
    lease.joining = False
    lease.renew(now)
    env = cast("Environment", SimpleNamespace(lease=lease, partitions=1, worker="w1"))
    ownership = Ownership(env)
    ownership.partitions[0] = cast("Partition", SimpleNamespace(is_open=False))
    reads = TableReads(env, ownership, lambda: None)
    assert reads.session(b"a") is Refusal.NOT_OPEN
    now += 7.0
    assert reads.session(b"a") is Refusal.NOT_OWNED


async def test_request_meant_for_another_worker_is_misdirected(open_server: Ask) -> None:
    """An address may have become another's; partitions of another deployment have the same numbers.

    Without the check a gateway reads sessions of the wrong deployment.
    """
    path = "/sessions?partitions=0&limit=5"
    assert await open_server(path) == 200
    assert await open_server(path, Barnabas_Worker="p/w2") == 421
    assert await open_server(path, Barnabas_Worker="other/w1") == 421


async def test_foreign_host_is_refused_without_a_secret(open_server: Ask) -> None:
    """DNS rebinding: a page of another site, in a browser on this machine, names its own host."""
    assert await open_server(Host="evil.example:80") == 403
    assert await open_server(Host="localhost:1") == 421


@pytest.mark.parametrize("given", [None, "Bearer wrong", SECRET, f"Bearer {SECRET}x", "Bearer é"])
async def test_wrong_secret_is_refused(guarded_server: Ask, given: str | None) -> None:
    """Nothing is said without it, not even whose partition it is."""
    headers = {} if given is None else {"Authorization": given}
    assert await guarded_server(**headers) == 401


async def test_right_secret_is_answered(guarded_server: Ask) -> None:
    """Whatever the host is called: it is reached from other machines."""
    assert await guarded_server(Authorization=f"Bearer {SECRET}", Host="worker.example") == 421


async def test_senseless_query_is_refused(open_server: Ask) -> None:
    """It is a mistake of the asker, not of the worker."""
    assert await open_server("/sessions?partitions=0&limit=x") == 400


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (ReadOptions(host="0.0.0.0", url="http://10.0.0.7:1"), "reads.secret"),
        (ReadOptions(host="10.0.0.7"), "reads.secret"),
        (ReadOptions(host="worker.example"), "reads.secret"),
        (ReadOptions(host="0.0.0.0", secret=SecretStr(SECRET)), "reads.url"),
        (ReadOptions(url="ftp://x"), "reads.url"),
        (ReadOptions(secret=SecretStr("short")), "reads.secret"),
        (ReadOptions(secret=SecretStr("é" * 20)), "reads.secret"),
        (ReadOptions(port=70_000), "reads.port"),
    ],
)
def test_unsafe_options_are_refused(options: ReadOptions, field: str) -> None:
    """Before anything listens; the field is named."""
    with pytest.raises(SettingsError, match=field):
        ReadServer(options, worker="w1", prefix="p")


def test_secret_is_never_shown() -> None:
    """In a log, say."""
    assert SECRET not in repr(ReadOptions(secret=SecretStr(SECRET)))
