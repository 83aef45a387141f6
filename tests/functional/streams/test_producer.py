"""What a delivery report means to its sender."""

from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import DeliveryUnknownError
from streams.producer import RecordProducer


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(7, (None, 7)), (0, (None, 0)), (None, (DeliveryUnknownError, -1))],
    ids=["written", "written-first", "taken-for-a-repeat"],
)
async def test_delivery_without_a_place_is_unknown(offset: int | None, expected: tuple[Any, int]) -> None:
    """A chaos run found four messages that librdkafka called delivered, without an offset, and no log had them.

    Mutant: ``_report_to`` without its second case: None arrives as an offset.
    """
    producer = RecordProducer({"bootstrap.servers": "127.0.0.1:9", "log_level": 0})
    heard: list[tuple[type | None, int]] = []
    report = producer._report_to(lambda error, at: heard.append((type(error) if error else None, at)))
    assert report is not None
    report(None, SimpleNamespace(offset=lambda: offset, topic=lambda: "events"))  # type: ignore[arg-type]
    assert heard == [expected]
    await producer.close(0)
