"""What handlers share: settings, one client, what is open, and what is counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from barnabas.client import Client
from barnabas.connection import connect
from barnabas.gateway.kafka_probe import KafkaProbe
from barnabas.gateway.metrics import GatewayFigures
from barnabas.gateway.open_streams import OpenStreams
from barnabas.gateway.reads import Reads
from barnabas.gateway.security.authenticator import Authenticator
from barnabas.gateway.security.exposure import is_loopback_name
from schemas.errors import ClientError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from barnabas.settings import Settings


class Gateway:
    """One instance of the gateway; nothing in it outlives the process, so that any number may run.

    Args:
        settings: The deployment's: its agents are those that requests may name.

    Attributes:
        settings: As given.
        options: Its own section of them.
        client: The one client of all requests: one producer, and one reader of each partition.
        figures: What ``/metrics`` shows.
        streams: Responses that last.
        authenticator: Says who asks.
        servers: Kafka's address, once it is open.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.options = settings.gateway
        self.client = Client(settings)
        self.figures = GatewayFigures()
        self.streams = OpenStreams(self.figures)
        self.authenticator = Authenticator(self.options.security, is_loopback=is_loopback_name(self.options.host))
        self.servers = ""
        self._kafka: KafkaProbe | None = None
        self._reads: Reads | None = None

    async def open(self) -> None:
        """Connect to Kafka; raises as :meth:`Client.__aenter__`. Repeatable."""
        if self._kafka is not None:
            return
        from barnabas.configuration import bootstrap_servers_of

        await self.client.__aenter__()
        self.servers = bootstrap_servers_of(self.settings)
        connection = await asyncio.to_thread(connect, self.settings)
        self._reads = Reads.open(connection, self.settings.reads, self.figures.reads)
        config = {"bootstrap.servers": self.servers, **self.settings.kafka}
        self._kafka = KafkaProbe(config, self.settings.names.messages)

    async def close(self) -> None:
        """End what is open, and the connections. Repeatable."""
        self.streams.end_all()
        await self.authenticator.aclose()
        reads, self._reads = self._reads, None
        if reads is not None:
            await reads.close()
        await self.client.close()

    @property
    def reads(self) -> Reads:
        """Sessions as they are and were.

        Raises:
            ClientError: The gateway is not open.
        """
        if self._reads is None:
            raise ClientError("the gateway is not connected to Kafka yet")
        return self._reads

    async def problems(self) -> list[str]:
        """Return why it is not ready, a sentence each."""
        if self.streams.is_stopping:
            return ["the gateway is ending"]
        problem = "not connected yet" if self._kafka is None else await self._kafka.problem()
        return [problem] if problem else []


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Return the gateway that a request or a WebSocket came to."""
    gateway: Gateway = connection.app.state.gateway
    return gateway
