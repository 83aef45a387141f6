"""F21: the one producer waits when its buffer is full, keeps the order, and reports every delivery once."""

import pytest

from schemas.errors import DeliveryUnknownError
from streams.producer import Record, RecordProducer
from tests.support.deployment import Deployment
from tests.support.waiting import DEADLINE_S, eventually


@pytest.mark.usefixtures("switched_off")
async def test_buffer_full_records_wait_in_order_none_is_dropped(deployment: Deployment) -> None:
    """5,000 records through a librdkafka queue of 100. Fails with ``BARNABAS_TEST_OFF=buffer_wait``."""
    producer = RecordProducer({"bootstrap.servers": deployment.bootstrap_servers, "queue.buffering.max.messages": 100})
    offsets: list[int] = []

    def delivered(error: DeliveryUnknownError | None, offset: int) -> None:
        assert error is None
        offsets.append(offset)

    try:
        for number in range(5000):
            producer.send(Record(deployment.names.tokens, 1, b"k", b"%d" % number, [], delivered))
        assert await producer.flush(DEADLINE_S) == 0
        await eventually(lambda: len(offsets) == 5000)
    finally:
        await producer.close()
    assert offsets == [*range(5000)]
    records = deployment.reader(deployment.names.tokens).read_to_end()
    assert [record.value for record in records] == [b"%d" % number for number in range(5000)]


async def test_record_refused_is_reported_not_raised(deployment: Deployment) -> None:
    """One too large for the topic fails alone; those around it are written. A closed producer says so."""
    producer = RecordProducer({"bootstrap.servers": deployment.bootstrap_servers})
    reports: list[bool] = []

    def delivered(error: DeliveryUnknownError | None, _offset: int) -> None:
        reports.append(error is None)

    try:
        for size in (1, 30_000_000, 1):
            producer.send(Record(deployment.names.tokens, 1, b"k", b"x" * size, [], delivered))
        assert await producer.flush(DEADLINE_S) == 0
        await eventually(lambda: len(reports) == 3)
    finally:
        await producer.close()
    assert sorted(reports) == [False, True, True]
    with pytest.raises(DeliveryUnknownError):
        producer.send(Record(deployment.names.tokens, 1, b"k", b"x", [], delivered))
