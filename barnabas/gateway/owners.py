"""Which worker owns which partition, and where it answers: asked of the group, remembered until it is wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from topics.members import Member, member_of

logger = logging.getLogger(__name__)

#: Longest the group's coordinator may take, in seconds.
_REQUEST_S: Final = 3.0

#: The group is asked once in this time at most, however many requests find an owner missing or wrong.
PAUSE_S: Final = 0.25

#: A worker that did not answer is left alone for so long: after a kill the group lists it for the session time-out.
DOWN_S: Final = 1.0

#: Owners by partition; None while the group settles.
Ask = Callable[[], Mapping[int, Member] | None]


class Owners:
    """The owners of a deployment's partitions; one for the whole gateway, on its event loop.

    Args:
        ask: Looks the owners up; blocks, in a thread.
        clock: Seconds, ascending.
    """

    def __init__(self, ask: Ask, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._known: Mapping[int, Member] = {}
        self._asked_at = float("-inf")
        self._wrong: set[int] = set()
        self._down: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, partition: int) -> Member | None:
        """Return a partition's owner; None while there is none that answers."""
        if (partition not in self._known or partition in self._wrong) and self._is_due():
            await self._refresh()
        member = self._known.get(partition)
        if member is None or partition in self._wrong or self._down.get(member.url, 0.0) > self._clock():
            return None
        return member

    async def all(self) -> list[Member]:
        """Return every worker that owns something, by name; asks the group once a second at most."""
        if self._clock() - self._asked_at > DOWN_S:
            await self._refresh()
        return sorted({*self._known.values()})

    def wrong(self, partition: int, member: Member) -> None:
        """Hear that a worker does not own the partition."""
        if self._known.get(partition) == member:
            self._wrong.add(partition)

    def down(self, member: Member) -> None:
        """Hear that a worker did not answer: its partitions go to another, but the group may not know yet."""
        self._down[member.url] = self._clock() + DOWN_S
        self._wrong.update(partition for partition, known in self._known.items() if known == member)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._asking is not None:
            await asyncio.wait({self._asking})

    def _is_due(self) -> bool:
        return self._asking is not None or self._clock() - self._asked_at > PAUSE_S

    async def _refresh(self) -> None:
        """Ask once for all who wait."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_once())
        await asyncio.shield(self._asking)

    async def _ask_once(self) -> None:
        try:
            found = await asyncio.to_thread(self._ask)
        except KafkaException as error:
            logger.warning("who owns what is not known: %s", error.args[0].str())
        else:
            if found is not None:
                self._known = found
                self._wrong.clear()
                now = self._clock()
                self._down = {url: until for url, until in self._down.items() if until > now}
        finally:
            self._asked_at = self._clock()
            self._asking = None


def ask_group(config: Mapping[str, Any], group_id: str, topic: str) -> Ask:
    """Return what asks Kafka for the members of a group and the partitions of ``topic`` that each has."""
    admin = AdminClient(dict(config))

    def ask() -> Mapping[int, Member] | None:
        described = admin.describe_consumer_groups([group_id], request_timeout=_REQUEST_S)[group_id].result()
        if described.state in {ConsumerGroupState.PREPARING_REBALANCING, ConsumerGroupState.COMPLETING_REBALANCING}:
            return None
        found: dict[int, Member] = {}
        for listed in described.members:
            member = member_of(listed.client_id)
            if member is not None and listed.assignment is not None:
                places = listed.assignment.topic_partitions
                found.update({place.partition: member for place in places if place.topic == topic})
        return found

    return ask
