"""A gateway and a worker are killed in mid-answer: who comes back elsewhere has, byte for byte, what others have.

Each test was seen to fail with ``BARNABAS_TEST_OFF`` and what its docstring names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.streams.conftest import GatewayProcess, StartGateway
from tests.support.deployment import Deployment, stuck_script
from tests.support.event_source import EventSource, has, transcript
from topics.names import TopicNames

pytestmark = pytest.mark.crash


@pytest.fixture
def frail(kafka: str, topic_names: TopicNames, tmp_path: Path) -> Iterator[Deployment]:
    """Give a deployment whose processes may be killed."""
    made = Deployment(kafka, topic_names, tmp_path, partitions=1)
    yield made
    made.close()


async def test_killed_gateway_and_worker_leave_no_trace_in_the_transcript(
    frail: Deployment, start_gateway: StartGateway
) -> None:
    """Three readers lose the gateway at different places, and end with the very events of one who never left.

    Fails with ``stream_cursors`` (a gap).
    """
    worker = frail.start("w1", script=stuck_script(**{"two-seconds": 5}))
    await asyncio.to_thread(worker.wait_ready)
    doomed, other = start_gateway(frail), start_gateway(frail)
    witness, readers = EventSource(), [EventSource() for _ in range(3)]
    async with witness.connect(other.stream("ada", "?after=beginning")) as watched:
        async with AsyncExitStack() as connections:
            responses = [
                await connections.enter_async_context(reader.connect(doomed.stream("ada", "?after=beginning")))
                for reader in readers
            ]
            frail.publish("ada", "fast first")
            frail.publish("ada", "two-seconds one")
            frail.flush()
            for deltas, reader, response in zip((2, 3, 5), readers, responses, strict=True):
                await reader.take(response, has("delta", deltas))
            doomed.kill()
            frail.kill(worker)
            with pytest.raises(httpx.TransportError):
                await asyncio.gather(
                    *(reader.take(response) for reader, response in zip(readers, responses, strict=True))
                )
        frail.start("w2")
        await witness.take(watched, has("completed", 2))
    for reader in readers:
        assert not has("completed", 2)(reader)
        async with reader.connect(other.stream("ada")) as response:
            await reader.take(response, has("completed", 2))
        assert reader.events == witness.events
        assert transcript(reader.events) == transcript(witness.events)
    assert [taken.event for taken in witness.events].count("superseded") == 1
    assert transcript(witness.events).count("a b c d e f g h i j k\ncompleted") == 1
    await _resume_everywhere(other, witness)


async def _resume_everywhere(gateway: GatewayProcess, witness: EventSource) -> None:
    """From every event's id exactly what lies behind it follows."""

    async def rest(position: int) -> None:
        reader = EventSource()
        reader.last_event_id = witness.events[position].id
        left = len(witness.events) - position - 1
        async with reader.connect(gateway.stream("ada")) as response:
            await reader.take(response, lambda source: len(source.events) >= left and source.comments)
        assert reader.events == witness.events[position + 1 :]

    await asyncio.gather(*(rest(position) for position in range(len(witness.events))))


async def test_end_that_the_next_owner_repeats_is_shown_once(frail: Deployment, start_gateway: StartGateway) -> None:
    """The first answer's acknowledgement waits behind another session's turn when the worker dies.

    So the next owner sends its end again, to readers that came back behind it as well. Fails with ``look_back`` (the
    reader that came back is shown the end twice) and ``token_filter`` (all are).
    """
    worker = frail.start("w1", script=stuck_script(**{"slow": 1, "two-seconds": 3}))
    await asyncio.to_thread(worker.wait_ready)
    gateway = start_gateway(frail)
    witness, returning = EventSource(), EventSource()
    async with witness.connect(gateway.stream("ada", "?after=beginning")) as watched:
        frail.publish("bob", "slow first")
        frail.publish("ada", "fast one")
        frail.publish("ada", "two-seconds two")
        frail.flush()
        async with returning.connect(gateway.stream("ada", "?after=beginning")) as response:
            await returning.take(response, has("delta", 3))
        await witness.take(watched, has("delta", 3))
        frail.kill(worker)
        frail.start("w2")
        async with returning.connect(gateway.stream("ada")) as response:
            await returning.take(response, has("superseded"))
            await returning.take(response, has("completed", 2))
        await witness.take(watched, has("completed", 2))
    assert returning.events == witness.events
    assert len([token for token in frail.tokens() if token.kind == "completed" and token.session_id == "ada"]) == 3
