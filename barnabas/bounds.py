"""Where the partitions of a topic begin and end, asked of the broker at most once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.errors import AccessError, BrokerError
from topics.access import GRANT, is_denied

#: An end that is older than this is asked for again. An old end is a sound place to begin: only more is read.
FRESH_S: Final = 1.0

#: Longest time to an answer: a broker may be starting again.
_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 0.2


class Bounds(NamedTuple):
    """A partition's offsets: ``earliest`` is the oldest kept, ``end`` the next to be written."""

    earliest: int
    end: int


class Offsets(Protocol):
    """Knows the bounds of a topic's partitions."""

    async def of(self, partition: int, *, at_least: int = 0) -> Bounds:
        """Return a partition's bounds, asked anew where the known end is below ``at_least``."""


class TopicOffsets:
    """Bounds of one topic, all partitions in one request.

    Args:
        topic: Its name.
        partitions: How many it has.
        client_config: librdkafka settings.
    """

    def __init__(self, topic: str, partitions: int, client_config: Mapping[str, Any]) -> None:
        self._topic = topic
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._config = {"log_level": 0, **client_config}
        self._admin = AdminClient(self._config)
        self._bounds: tuple[Bounds, ...] = ()
        self._asked_at = 0.0
        self._request: asyncio.Task[tuple[Bounds, ...]] | None = None

    async def of(self, partition: int, *, at_least: int = 0) -> Bounds:
        """Return a partition's bounds.

        Args:
            partition: Its number.
            at_least: Ask anew where the known end is below this offset.

        Raises:
            AccessError: Kafka does not let this user see the topic.
            BrokerError: No broker answered.
        """
        if self._bounds and time.monotonic() - self._asked_at < FRESH_S and self._bounds[partition].end >= at_least:
            return self._bounds[partition]
        was_asked = self._is_asking
        bounds = (await self._shared())[partition]
        if was_asked and bounds.end < at_least:  # asked, maybe answered, before what the caller knows of was written
            bounds = (await self._shared())[partition]
        return bounds

    async def _shared(self) -> tuple[Bounds, ...]:
        """Ask, or wait with those who asked before; one that gives up takes nobody with it."""
        request = self._request
        if request is None or request.done():
            request = self._request = asyncio.ensure_future(self._ask())
            request.add_done_callback(self._answered)
        return await asyncio.shield(request)

    @property
    def _is_asking(self) -> bool:
        """Whether a question is under way; one that is answered is not, though its callback may still be to come."""
        return self._request is not None and not self._request.done()

    def _answered(self, request: asyncio.Task[tuple[Bounds, ...]]) -> None:
        if self._request is request:
            self._request = None
        if not request.cancelled() and request.exception() is None:
            self._bounds = request.result()

    async def _ask(self) -> tuple[Bounds, ...]:
        give_up = time.monotonic() + _TIMEOUT_S
        while True:
            asked_at = time.monotonic()
            try:
                latest = await self._list(OffsetSpec.latest())
                earliest = await self._list(OffsetSpec.earliest())
            except KafkaException as error:
                if is_denied(error.args[0]):
                    raise AccessError(f"{self._topic} may not be looked at ({error.args[0].str()}); {GRANT}") from error
                if time.monotonic() > give_up:
                    why = error.args[0].str()
                    raise BrokerError(f"{self._topic}: Kafka did not answer ({why}); is it running?") from error
                # A broker that was restarted: what the client knew of its partitions' leaders is of no use.
                self._admin = AdminClient(self._config)
                await asyncio.sleep(_PAUSE_S)
            else:
                self._asked_at = asked_at
                return tuple(Bounds(first, end) for first, end in zip(earliest, latest, strict=True))

    async def _list(self, spec: OffsetSpec) -> list[int]:
        wanted = dict.fromkeys(self._places, spec)
        futures = self._admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S / 2
        )
        found = {place.partition: asyncio.wrap_future(future) for place, future in futures.items()}
        return [(await found[place.partition]).offset for place in self._places]
