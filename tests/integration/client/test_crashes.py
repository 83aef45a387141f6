"""Streams over crashes: of the subscriber, of a worker, of the broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from barnabas import Client, Part
from infra.broker import Broker
from schemas.tokens import TokenKind
from streams.providers.scripted import Script
from tests.integration.client.conftest import client_of
from tests.support.deployment import SCRIPT, Deployment
from tests.support.processes import ROOT, environment
from tests.support.waiting import DEADLINE_S
from topics.names import TopicNames

pytestmark = pytest.mark.crash

WORDS = [str(number) for number in range(60)]


class Subscriber:
    """A subscriber's process and what it has printed."""

    def __init__(self, deployment: Deployment, session: str, *after: str) -> None:
        names = (deployment.bootstrap_servers, deployment.names.prefix, str(deployment.folder / "subscriber"))
        env = environment({"BARNABAS_TEST_OFF": os.environ.get("BARNABAS_TEST_OFF")})
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.client.subscriber", *names, session, *after],
            stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True,
        )  # fmt: skip
        assert self.popen.stdout is not None
        assert self._line() == {"event": "ready"}

    def take(self, count: int = 10_000) -> list[dict[str, Any]]:
        """Read its next parts, ``count`` or to the end of the turn."""
        parts: list[dict[str, Any]] = []
        while len(parts) < count and (not parts or parts[-1]["kind"] != "ended"):
            parts.append(self._line())
        return parts

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.communicate()

    def _line(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return line


def test_subscriber_killed_and_resumed_in_another_process_gets_exactly_the_rest(served: Deployment) -> None:
    """Nothing is missing, nothing comes twice; what came while nobody was there, too.

    Fails with ``BARNABAS_TEST_OFF=cursors``.
    """
    first = Subscriber(served, "killed")
    try:
        served.publish("killed", "long one")
        served.flush()
        seen = first.take(15)
    finally:
        first.kill()
    second = Subscriber(served, "killed", seen[-1]["cursor"])
    try:
        rest = second.take()
    finally:
        second.kill()
    texts = [part["text"] for part in (*seen, *rest) if part["kind"] == "text"]
    assert "".join(texts).split() == WORDS
    assert not [part for part in (*seen, *rest) if part["kind"] == "reset"]
    offsets = [part["offset"] for part in (*seen, *rest)]
    assert offsets == sorted(set(offsets))


async def test_worker_killed_in_mid_stream_its_attempt_is_dropped(
    kafka: str, topic_names: TopicNames, tmp_path: Path, switched_off: None
) -> None:
    """The next worker's attempt resets what was shown. Fails with ``BARNABAS_TEST_OFF=attempts``."""
    deployment = Deployment(kafka, topic_names, tmp_path, partitions=1)
    try:
        hanging = {"two-seconds *": replace(SCRIPT.replies["two-seconds *"], hang_after=4)}
        worker = deployment.start("w1", script=Script(replies=hanging))
        await asyncio.to_thread(worker.wait_ready)
        async with client_of(deployment) as client:
            sent = await client.send("ada", "two-seconds one")
            parts: list[Part] = []
            every: list[Part] = []
            raw = asyncio.create_task(_take_all(client, sent.session_id, sent.turn_id, str(sent.cursor), every))
            async for part in client.stream(sent):
                parts.append(part)
                if worker.is_running and shown(parts).split() == ["a", "b", "c", "d"]:
                    await asyncio.to_thread(deployment.kill, worker)
                    deployment.start("w2")
            await raw
            answer = await client.answer(sent)
        assert [part.token.kind for part in parts if part.kind == "reset"] == [TokenKind.SUPERSEDED]
        assert all(answer.text.startswith(shown(parts[:count])) for count in range(len(parts)))
        assert not parts[-1].is_repaired
        assert shown(parts) == answer.text == parts[-1].token.text == "a b c d e f g h i j k"
        kinds = {part.token.attempt for part in every}
        assert len(kinds) == 2
        assert [part for part in every if part.token.kind is TokenKind.SUPERSEDED]
    finally:
        deployment.close()


async def _take_all(client: Client, session: str, turn_id: str, after: str, into: list[Part]) -> None:
    async for part in client.stream(session, turn_id=turn_id, after=after, show_superseded=True):
        into.append(part)  # noqa: PERF401 -- looked at while it grows


async def test_broker_restarted_in_mid_stream_is_survived(private_broker: Broker, prefix: str, tmp_path: Path) -> None:
    """SIGKILL and start: the stream waits, goes on, and is whole; so does what is sent meanwhile."""
    state = private_broker.status()
    assert state is not None
    deployment = Deployment(state.bootstrap_servers, TopicNames(prefix), tmp_path, partitions=1)
    try:
        await asyncio.to_thread(deployment.start().wait_ready)
        async with client_of(deployment) as client:
            sent = await client.send("ada", "two-seconds one")
            parts: list[Part] = []
            again: asyncio.Task[Any] | None = None
            async for part in client.stream(sent):
                parts.append(part)
                if again is None and part.kind == "text":
                    await asyncio.to_thread(private_broker.kill)
                    again = asyncio.create_task(client.ask("ada", "fast two", timeout=100))
                    await asyncio.to_thread(private_broker.start)
            assert shown(parts) == parts[-1].token.text == "a b c d e f g h i j k"
            assert again is not None
            assert (await again).text == "fast two!"
    finally:
        deployment.close()


def shown(parts: list[Part]) -> str:
    """Return what stands on a screen that appends and forgets."""
    text = ""
    for part in parts:
        text = "" if part.kind == "reset" else text + part.text
    return text


def test_ctrl_c_ends_a_command_that_waits(served: Deployment) -> None:
    """At once, with the customary code."""
    run = subprocess.Popen(
        [sys.executable, "-m", "barnabas", "send", "interrupted", "hang for ever"],
        env=environment({"KAFKA_BOOTSTRAP_SERVERS": served.bootstrap_servers, "BARNABAS_PREFIX": served.names.prefix}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=served.folder,
    )  # fmt: skip
    assert run.stdout is not None
    assert run.stdout.read(1)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 130
