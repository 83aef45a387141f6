"""Which partitions this worker owns, and what happens to them over a rebalance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from faust.types import TP

from schemas.errors import AssignmentError
from state.partition_fold import PartitionFold
from state.recovery import Recovered
from streams.environment import Environment
from streams.partition import Partition, Phase

if TYPE_CHECKING:
    from streams.consumer import SessionConsumer

logger = logging.getLogger(__name__)

#: Pause between two attempts to prove that a partition is still ours.
_RECLAIM_PAUSE_S: Final = 0.3


class Ownership:
    """The owned partitions; hears of the group, of recovery, and of epochs that ended."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.partitions: dict[int, Partition] = {}
        self.owned: set[int] = set()
        #: Owned, and not kept over the last rebalance: to be recovered.
        self.fresh: set[int] = set()
        self.generation = -1
        #: Whether the last assignment is recovered.
        self.is_settled = False
        #: Messages are no longer taken: the worker is on its way out.
        self.draining = False
        self._member_id = ""
        self._reclaims: dict[int, asyncio.Task[None]] = {}
        self._consumer: Callable[[], SessionConsumer] | None = None

    def attach(self, consumer: Callable[[], SessionConsumer]) -> None:
        """Take the consumer, which Faust makes later."""
        self._consumer = consumer

    @property
    def consumer(self) -> SessionConsumer:
        """Faust's consumer, once it exists."""
        if self._consumer is None:
            msg = "no consumer is attached yet"
            raise AssignmentError(msg)
        return self._consumer()

    @property
    def messages_begun(self) -> int:
        """How many messages are begun or wait in lanes."""
        return sum(partition.messages_begun for partition in self.partitions.values())

    @property
    def lanes_at_work(self) -> int:
        """How many lanes are at work."""
        return sum(partition.lanes_at_work for partition in self.partitions.values())

    def is_open(self, number: int) -> bool:
        """Whether a partition is ours and its lanes run."""
        partition = self.partitions.get(number)
        return partition is not None and partition.is_open

    def waits_for_slot(self, number: int, offset: int) -> bool:
        """Whether the turn of the message at this offset waits for a slot."""
        partition = self.partitions.get(number)
        return partition is not None and offset in partition.waiting_for_slot

    def tps(self, partitions: Iterable[int]) -> set[TP]:
        """The consumed topic partitions of partition numbers (the changelog is not consumed)."""
        names = self.env.names
        return {TP(topic, p) for p in partitions for topic in (names.messages, names.control, names.events)}

    @property
    def kept(self) -> set[TP]:
        """Topic partitions that were ours without a gap over the last rebalance."""
        return self.tps(self.owned - self.fresh)

    def stopped_tps(self) -> set[TP]:
        """Topic partitions of partitions that stopped for good."""
        return self.tps(number for number, p in self.partitions.items() if p.phase is Phase.STOPPED)

    # -- Rebalance

    def on_rebalanced(self, generation: int, member_id: str, assigned: set[TP]) -> None:
        """Keep what stayed ours without a gap; drop everything else of the last generation (B2).

        Raises:
            AssignmentError: The topics of a partition number went to different workers (R1).
        """
        owned = self._copartitioned(assigned)
        unbroken = member_id == self._member_id and generation == self.generation + 1
        kept = self.owned & owned & self.partitions.keys() if unbroken else set()
        for number in [*self.partitions]:
            if number not in kept:
                self._drop(number)
        self.owned, self.fresh = owned, owned - kept
        self.generation, self._member_id, self.is_settled = generation, member_id, False
        for number in kept:
            self.partitions[number].generation = generation
        logger.info("generation %d: owns %d partitions, %d kept", generation, len(owned), len(kept))

    def _copartitioned(self, assigned: set[TP]) -> set[int]:
        names = self.env.names
        by_topic = {
            topic: {tp.partition for tp in assigned if tp.topic == topic}
            for topic in (names.messages, names.control, names.events, names.changelog)
        }
        owned = by_topic[names.messages]
        for topic, numbers in by_topic.items():
            if numbers != owned:
                msg = f"{topic} holds partitions {sorted(numbers)}, {names.messages} {sorted(owned)}: not one worker's"
                raise AssignmentError(msg)
        return owned

    def _drop(self, number: int) -> None:
        reclaim = self._reclaims.pop(number, None)
        if reclaim is not None:
            reclaim.cancel()
        partition = self.partitions.pop(number)
        partition.is_owned = False
        partition.close()
        self.env.write_path.close_partition(number)

    async def recovered(self, recovered: Recovered) -> bool:
        """Recovery is done: place the cursors, make the fresh partitions; nothing is fetched yet.

        Returns:
            False where the group settled anew meanwhile: the newer generation's recovery does it.
        """
        generation = self.generation
        await self.consumer.place_cursors(self.tps(self.owned), self.kept)
        for number in self.fresh & recovered.refold:
            if generation == self.generation:
                await self._refold(number)
        if generation != self.generation:
            return False
        for number in self.fresh:
            state = self.env.write_path.open_partition(number)
            self.partitions[number] = Partition(
                number, PartitionFold(state), self.env, generation=self.generation, on_lost=self.lost
            )
            for key, folded in recovered.stale.get(number, {}).items():
                self.env.write_path.resend(number, key, folded)
        return True

    async def _refold(self, number: int) -> None:
        """Read the partition's events from the beginning: the table does not hold what they say."""
        events = TP(self.env.names.events, number)
        first = await self.consumer.earliest(events)
        if self.consumer.cursors[events].handled > first:
            logger.warning("partition %d: no usable table, its events are folded again from offset %d", number, first)
            self.consumer.restart_from(events, first)
            generation = self.generation
            while generation == self.generation and not await self.consumer.proves_ownership(events):  # noqa: ASYNC110
                # Committed before anything is folded: a crash in between must not leave the new partition record
                # in the changelog beside the old commit, or nothing would be folded again.
                await asyncio.sleep(_RECLAIM_PAUSE_S)

    def open(self) -> None:
        """Fetching goes on: append our openings."""
        self.is_settled = True
        for number, partition in self.partitions.items():
            if partition.phase is not Phase.CLOSED:
                continue
            if number in self.fresh:
                if not self.draining:  # on its way out: the next owner opens it
                    partition.open()
            else:
                self._reclaim_soon(number)

    # -- Losing and reclaiming an epoch

    def lost(self, number: int, reason: str) -> None:
        """A partition's epoch is over: drop its lanes at once, open it again only if it is still ours."""
        partition = self.partitions.get(number)
        if partition is None or partition.phase in {Phase.CLOSED, Phase.STOPPED}:
            return
        logger.warning("partition %d: epoch %d is over: %s", number, partition.epoch, reason)
        self.env.figures.epochs_lost += 1
        partition.close()
        self._reclaim_soon(number)

    def lapse(self) -> None:
        """The lease is over: write nothing until a heartbeat succeeds or the group settles anew (R2)."""
        for number in [*self.partitions]:
            self.lost(number, "the lease is over")
        self.env.publisher.purge()

    def _reclaim_soon(self, number: int) -> None:
        running = self._reclaims.pop(number, None)
        if running is not None:
            running.cancel()
        self._reclaims[number] = asyncio.create_task(self._reclaim(number, self.partitions[number]))

    async def _reclaim(self, number: int, partition: Partition) -> None:
        events = TP(self.env.names.events, number)
        while self.env.lease.is_over or not await self.consumer.proves_ownership(events):  # noqa: ASYNC110 -- asks again
            await asyncio.sleep(_RECLAIM_PAUSE_S)
        if self.partitions.get(number) is not partition or partition.phase is not Phase.CLOSED:
            return
        if self.draining:
            return  # on its way out: the next owner opens it
        for topic in (self.env.names.messages, self.env.names.control):
            tp = TP(topic, number)
            self.consumer.restart_from(tp, self.consumer.cursors[tp].acks.watermark)
        partition.discard_held()
        partition.open()

    def close(self) -> None:
        """Drop everything: the worker ends."""
        for number in [*self.partitions]:
            self._drop(number)
