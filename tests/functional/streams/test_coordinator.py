"""The search for the group's coordinator, before any broker is known."""

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import NodeNotReadyError

from streams.consumer_thread import wait_for_brokers


async def test_no_broker_known_is_asked_again() -> None:
    """An error that aiokafka repeats; without ``wait_for_brokers`` an assertion ends the group's task for good.

    A chaos run found workers that never joined: their broker had answered before it knew itself.
    """
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    wait_for_brokers(client)
    with pytest.raises(NodeNotReadyError) as raised:
        await client.coordinator_lookup(CoordinationType.GROUP, "barnabas")
    assert raised.value.retriable
    await client.close()
