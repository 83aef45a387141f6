"""Faust's consumer with our own delivery, acknowledgement and commit.

Faust keeps the group membership, the rebalance and the agents. Between aiokafka's ``getmany`` and the agents'
channels stands our loop instead of ``Consumer._drain_messages``: whole runs of records go to the agents, a
cursor per partition proves that none is missing, and the offset to commit comes from our own trackers. That
removes hazards S1, S3, S4, P1, P2 and F1 at the root; the numbers in the comments are those of the hazards page.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import aiokafka
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import Transport as FaustTransport
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from schemas.errors import AssignmentError
from streams.consumer_thread import LAST_COMMIT_S, LeasedConsumerThread
from streams.delivery import Admission, Cursor, Delivery, KafkaRecord
from streams.lease import Lease

logger = logging.getLogger(__name__)

#: How long one poll of the fetched records waits.
POLL_S = 0.2

#: Records of ``messages`` taken in one poll (P4).
MAX_POLL_RECORDS = 500

_IDLE_S = 0.02
_TAIL_CHECK_S = 1.0


class SessionConsumer(FaustConsumer):
    """Delivers runs of records to the agents and commits what our trackers say."""

    _thread: LeasedConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.cursors: dict[TP, Cursor] = {}
        #: Partitions that back-pressure holds (P2b: our own set, kept over a rebalance).
        self.held: set[TP] = set()
        self._seeks: dict[TP, int] = {}
        #: Whose assignment is known here, and may be committed under; read by the consumer's thread.
        self.generation = -1
        #: Counts the polls, for the watchdog.
        self.polls = 0
        super().__init__(*args, **kwargs)
        self.wiring = cast("Any", self.app).barnabas
        self.lease: Lease = self.wiring.lease
        #: The topic whose backlog may be long.
        self.bulk_topic: str = self.wiring.names.messages

    def _new_consumer_thread(self) -> LeasedConsumerThread:
        return LeasedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- Rebalance

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done (F13) and let Faust suspend; running turns go on until it is known what is lost."""
        if self.cursors:
            await self.commit_done()
        if self.lease.is_over:
            self.wiring.ownership.lapse()  # thrown out of the group, or about to be: somebody else owns what we had
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let the owner decide what was kept before Faust's recovery begins."""
        self.generation = generation_id
        changelog = self.wiring.names.changelog
        copies = {TP(changelog, number) for number in cast("Any", self.app).assignor.standbys(changelog)}
        try:
            self.wiring.ownership.on_rebalanced(generation_id, self._thread.member_id, assigned - copies)
        except AssignmentError as exc:  # aiokafka would log it and go on (R1)
            await self.app.crash(exc)
            raise
        # What was not kept has had another owner: a commit from what we know of it would take that one's back.
        kept = self.wiring.ownership.kept
        for tp in [*self.cursors]:
            if tp not in kept:
                del self.cursors[tp]
        # Behind it, so that nothing of the last generation is written under a lease of this one; from when the group
        # was asked, because this may have been frozen since.
        self.lease.renew(self._thread.membership.synced_at)
        self.lease.joining = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def place_cursors(self, tps: set[TP], kept: set[TP]) -> None:
        """After recovery: begin kept partitions where they were handled, the others where they are committed."""
        for tp in [*self.cursors]:
            if tp not in tps:
                del self.cursors[tp]
        fresh = {tp for tp in tps if tp not in kept or tp not in self.cursors}
        if fresh:
            committed = await self._thread.call_thread(self._thread.committed, fresh)
            self.cursors.update({tp: Cursor(offset) for tp, offset in committed.items()})
        for tp in tps:
            self.read_again(tp)
        self.held &= tps
        await self._apply_seeks()

    async def earliest(self, tp: TP) -> int:
        """Return the first offset that the partition still holds."""
        partition = aiokafka.TopicPartition(*tp)
        offsets: Mapping[TP, int] = await self._thread.earliest_offsets(partition)
        return offsets[tp]

    def high_waters(self) -> dict[TP, int]:
        """Return the end of each assigned partition as last fetched; no call to the broker."""
        consumer = self._thread._consumer
        subscription = consumer._subscription.subscription if consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return {}
        states = ((tp, assignment.state_value(tp)) for tp in assignment.tps)
        return {TP(*tp): state.highwater for tp, state in states if state is not None and state.highwater is not None}

    def read_again(self, tp: TP, position: int | None = None) -> None:
        """Fetch again from ``position`` (default: behind what was handled)."""
        cursor = self.cursors[tp]
        if position is not None:
            cursor.handled = position
        self._seeks[tp] = cursor.handled

    def restart_from(self, tp: TP, position: int) -> None:
        """Begin the partition anew at ``position``: what was begun behind it comes again."""
        committed = self.cursors[tp].committed
        self.cursors[tp] = Cursor(position)
        self.cursors[tp].committed = min(committed, position)
        self._seeks[tp] = position

    async def _apply_seeks(self) -> None:
        seeks, self._seeks = self._seeks, {}
        paused = [tp for tp in self.assignment() if tp not in self.cursors]
        await self._thread.call_thread(self._thread.rewind, seeks, paused)
        for tp, position in seeks.items():
            if tp in self.cursors:
                self.cursors[tp].fetched = position

    # -- Delivery

    async def _drain_messages(self, fetcher: Service) -> None:
        """Our consume loop, in place of Faust's."""
        next_tail_check = self.loop.time() + _TAIL_CHECK_S
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait_first(self.can_resume_flow.wait(), fetcher._stopped.wait())
                continue
            if self._seeks:
                await self._apply_seeks()
            room = min(MAX_POLL_RECORDS, self.wiring.pressure.room(self))
            wanted = self.wiring.pressure.wanted(self, room)
            self.polls += 1
            if not wanted:
                await asyncio.sleep(_IDLE_S)
                continue
            generation = self.generation
            records = await self._thread.call_thread(
                self._thread._fetch_records,
                self._thread._ensure_consumer(),
                wanted,
                timeout=POLL_S if room else _IDLE_S,  # room comes without a record: do not wait for one
                max_records=room or MAX_POLL_RECORDS,
            )
            if generation == self.generation and self.flow_active:
                self._deliver(records)
            else:  # fetched under another assignment; aiokafka's position has moved over them
                for tp in map(TP._make, records):
                    if tp in self.cursors:
                        self.read_again(tp)
            if self.loop.time() >= next_tail_check:
                next_tail_check = self.loop.time() + _TAIL_CHECK_S
                self._read_missing_tails(await self._thread.call_thread(self._thread.positions))
            await asyncio.sleep(0)

    def _deliver(self, records: Mapping[TP, list[KafkaRecord]]) -> None:
        """Hand one poll's records to the agents: one Faust event a topic, whatever the number of partitions."""
        by_topic: dict[str, list[Delivery]] = {}
        for partition, batch in records.items():
            tp = TP(*partition)
            delivery = self._delivery(tp, batch)
            if delivery is not None:
                by_topic.setdefault(tp.topic, []).append(delivery)
        app = cast("Any", self.app)
        for deliveries in by_topic.values():
            tp, last = deliveries[-1].tp, deliveries[-1].records[-1].offset
            message = ConsumerMessage(
                tp.topic, tp.partition, last, 0.0, 0, None, None, deliveries, None, None, None, tp,
                generation_id=app.consumer_generation_id,
            )  # fmt: skip
            for channel in self._channels(tp):
                channel.queue.put_nowait(channel._create_event(None, deliveries, None, message=message))

    def _delivery(self, tp: TP, batch: list[KafkaRecord]) -> Delivery | None:
        cursor = self.cursors.get(tp)
        if cursor is None or tp in self._seeks or not batch:
            return None
        start = cursor.fetched
        if batch[0].offset > start and cursor.confirmed_hole != start:
            # Ask once more: after a confirmed seek a later first record means that the log has a hole there.
            cursor.confirmed_hole = start
            self._seeks[tp] = start
            return None
        delivery = Delivery(tp, start, batch)
        cursor.fetched = delivery.end
        return delivery

    def _channels(self, tp: TP) -> Iterable[Any]:
        channels: Iterable[Any] = cast("Any", self.app).topics._tp_index.get(tp, ())
        return channels

    def admit(self, delivery: Delivery) -> Iterator[KafkaRecord]:
        """Yield a delivery's new records, each begun in the tracker; a gap before it sends the fetch back.

        The agents call this: what they have not taken is not handled, whoever dropped it.
        """
        cursor = self.cursors.get(delivery.tp)
        if cursor is None:
            return
        handled = cursor.handled
        admission = cursor.admit(delivery)
        if admission is Admission.GAP:
            logger.warning(
                "%s-%d: records %d to %d were not delivered: read again", *delivery.tp, handled, delivery.start
            )
            self._seeks[delivery.tp] = handled
        if admission is not Admission.NEXT:
            return
        deliver, now = cursor.acks.deliver, time.monotonic()
        for record in delivery.records:
            if record.offset >= handled:
                deliver(record.offset, now)
                yield record

    def _read_missing_tails(self, positions: Mapping[TP, int]) -> None:
        for tp, cursor in self.cursors.items():
            position = positions.get(tp, -1)
            if position > cursor.fetched and tp not in self._seeks and position != cursor.confirmed_end:
                # Taken out of aiokafka and lost on the way (S1), or control records only: read once more to know.
                cursor.confirmed_end = position
                self._seeks[tp] = cursor.fetched
            if any(not channel.queue.empty() for channel in self._channels(tp)):
                continue  # the agent is behind, nothing is missing
            if tp not in self._seeks and cursor.is_missing_tail():
                logger.warning("%s-%d: records %d to %d never arrived: read again", *tp, cursor.handled, cursor.fetched)
                self._seeks[tp] = cursor.handled

    # -- Acknowledgement and commit

    def ack(self, _message: Any) -> bool:
        """Do nothing: a stream's word is not an acknowledgement (F1, F2, S4)."""
        return False

    async def commit(self, *_args: Any, **_kwargs: Any) -> bool:
        """Commit what is done; Faust calls this on its timer and at its end."""
        if await self.maybe_wait_for_commit_to_finish():
            return False
        self._commit_fut = self.loop.create_future()
        try:
            return await self.commit_done()
        finally:
            future, self._commit_fut = self._commit_fut, None
            if not future.done():
                future.set_result(None)

    async def commit_done(self) -> bool:
        """Commit each partition's watermark; True where the coordinator took all of it under our generation."""
        offsets = {
            tp: cursor.acks.watermark for tp, cursor in self.cursors.items() if cursor.acks.watermark > cursor.committed
        }
        if not offsets:
            return True
        return await self._commit_offsets_now(offsets)

    async def proves_ownership(self, tp: TP) -> bool:
        """Commit a partition's watermark again: only a member of the current generation succeeds."""
        cursor = self.cursors.get(tp)
        return cursor is not None and await self._commit_offsets_now({tp: cursor.acks.watermark})

    async def leave(self) -> None:
        """Commit what is done and leave the group; nothing is fetched or committed any more.

        Faust's own stop comes to it a third of a second later, and the group waits for that long.
        """
        try:
            async with asyncio.timeout(LAST_COMMIT_S):
                await self.commit_done()
        except TimeoutError:
            logger.warning("the last commit was not answered: what is behind the one before is delivered again")
        self.cursors.clear()
        thread = self._thread
        if thread.thread_loop.is_closed():
            return  # it failed, and the membership ends with its connection's heartbeats
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(thread.leave(), thread.thread_loop))

    async def _commit_offsets_now(self, offsets: dict[TP, int]) -> bool:
        committed: bool = await self._thread.commit(offsets)
        if committed:
            for tp, offset in offsets.items():
                if tp in self.cursors:
                    self.cursors[tp].committed = offset
        return committed

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust's detector watches the acknowledgements that we replaced."""


class SessionTransport(FaustTransport):
    """The transport that makes our consumer."""

    Consumer = SessionConsumer
