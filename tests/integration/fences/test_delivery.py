"""S1, S3, S6: deliveries lost and repeated on purpose; every message is still answered, once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from streams.consumer import SessionConsumer
from streams.consumer_thread import LeasedConsumerThread
from tests.integration.fences.conftest import Dropper
from tests.support.deployment import Deployment, LocalWorker

Local = Callable[..., LocalWorker]


async def test_delivery_dropped_with_records_behind_it_is_read_again(
    deployment: Deployment, local: Local, dropper: Dropper
) -> None:
    """Several deliveries of each topic vanish before the agents' channels while more come behind them.

    Fails with ``BARNABAS_TEST_OFF=gap_check``.
    """
    async with local() as worker:
        for wave in range(8):
            if wave in {2, 3, 6}:
                dropper.drop_next(deployment.names.messages, 2)
                dropper.drop_next(deployment.names.events, 2)
            answered = len(deployment.log().outcomes)
            for number in range(20):
                deployment.publish(f"s{number}", f"fast {wave}-{number}")
            deployment.flush()
            # The next wave comes behind what was lost of this one.
            await worker.until(lambda: len(deployment.log().outcomes) > answered, "some of the wave is answered")  # noqa: B023
            await worker.until(lambda: not any(dropper.pending.values()), "the deliveries are lost")
        assert len(dropper.dropped) == 12
        await worker.until_answered()
        await worker.until_committed()
    report = deployment.check()
    assert report.repeated_calls == 0


@pytest.mark.parametrize("topic", ["messages", "events"])
async def test_delivery_dropped_at_the_tail_is_found_missing(
    deployment: Deployment, local: Local, dropper: Dropper, topic: str
) -> None:
    """The last delivery of a topic vanishes, and nothing comes behind it. Fails with ``tail_check`` switched off."""
    async with local() as worker:
        dropper.drop_next(getattr(deployment.names, topic))
        deployment.publish("s1", "fast one")
        deployment.flush()
        await worker.until(lambda: dropper.dropped, "a delivery is lost")
        await worker.until_answered()
        await worker.until_committed()
    report = deployment.check()
    assert report.repeated_calls == 0


@pytest.mark.parametrize("topic", ["messages", "events"])
async def test_fetch_lost_behind_aiokafka_position_is_found_missing(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """Records that aiokafka has handed out, its position moved; our loop never sees them, and nothing follows.

    It happens to a poll that is under way while a rebalance settles: seen as partitions whose own opening never
    came, so that no lane ever ran. Fails with ``BARNABAS_TEST_OFF=position_check``.
    """
    fetch, lost = LeasedConsumerThread._fetch_records, []
    is_armed = False

    async def losing(self: LeasedConsumerThread, *args: Any, **kwargs: Any) -> Any:
        records = await fetch(self, *args, **kwargs)
        for tp in [*records]:
            if is_armed and not lost and tp.topic == getattr(deployment.names, topic):
                lost.append(records.pop(tp))
        return records

    monkeypatch.setattr(LeasedConsumerThread, "_fetch_records", losing)
    async with local() as worker:
        is_armed = True
        deployment.publish("s1", "fast one")
        deployment.flush()
        await worker.until(lambda: lost, "a fetch is lost")
        await worker.until_answered()
        await worker.until_committed()
    report = deployment.check()
    assert report.repeated_calls == 0


async def test_delivery_repeated_is_handled_once(
    deployment: Deployment, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every delivery reaches its agent twice within a generation (S6); the second changes nothing."""
    deliver, repeated = SessionConsumer._deliver, Counter[str]()

    def twice(self: SessionConsumer, records: Any) -> None:
        deliver(self, records)
        for tp in records:
            for channel in self._channels(tp):
                last = channel.queue._queue[-1] if channel.queue._queue else None
                if last is not None:
                    channel.queue.put_nowait(channel._create_event(None, last.value, None, message=last.message))
                    repeated[tp.topic] += 1

    monkeypatch.setattr(SessionConsumer, "_deliver", twice)
    async with local() as worker:
        for number in range(60):
            deployment.publish(f"s{number % 20}", f"fast {number}")
        deployment.flush()
        await worker.until_answered()
        await worker.until_committed()
    assert repeated.keys() >= {deployment.names.messages, deployment.names.events}
    report = deployment.check()
    assert report.repeated_calls == 0
    assert report.rejected == {}
