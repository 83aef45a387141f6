"""The projector: folds the log into the table, and tells the lanes what the log decided."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from schemas.errors import BarnabasError, DamagedLogError, DecodeError, RetryableError, StoreError, UnknownEventError
from schemas.events import LogEvent, Outcome, PartitionOpened, SessionEvent, ToolCalled
from state.fold import OUTCOMES, Verdict
from state.value import PARTITION_KEY
from streams.acks import AckTracker
from streams.delivery import CORRUPT_BATCH, Delivery, KafkaRecord, UnreadableRecord
from streams.environment import Environment
from streams.ownership import Ownership
from streams.partition import Partition, Phase

if TYPE_CHECKING:
    from streams.dead_letters import DeadLetters

logger = logging.getLogger(__name__)


class Projector:
    """The table's only writer. Synchronous: a run of records is folded in one go."""

    def __init__(self, env: Environment, ownership: Ownership, dead_letters: DeadLetters) -> None:
        self._env = env
        self._ownership = ownership
        self._dead_letters = dead_letters

    def handle(self, delivery: Delivery) -> None:
        """Fold a run of one partition's events; never raises."""
        if self._env.lease.is_over:
            self._ownership.lapse()
            return  # not handled: the cursor has it read again
        number = delivery.tp.partition
        owner = self._ownership.partitions.get(number)
        if owner is None or owner.phase is Phase.STOPPED:
            return
        consumer = self._ownership.consumer
        place = delivery.start
        try:
            for record in consumer.admit(delivery):
                place = record.offset
                self._fold(owner, record, consumer.cursors[delivery.tp].acks)
        except RetryableError as exc:
            logger.warning("partition %d: read again from offset %d: %s", number, place, exc)
            consumer.read_again(delivery.tp, place)
        except StoreError as exc:
            self._env.fail(exc)  # the next start's recovery wipes what is corrupt and fills it again
            return
        except BarnabasError as exc:
            owner.stop(str(exc))
            return
        except Exception as exc:
            logger.exception("partition %d: the projector failed", number)
            owner.stop(repr(exc))
            return
        self._env.write_path.flush(number)

    def _fold(self, owner: Partition, record: KafkaRecord, acks: AckTracker) -> None:
        acknowledge = partial(acks.ack, record.offset)
        if isinstance(record, UnreadableRecord) and record.cause == CORRUPT_BATCH:
            raise DamagedLogError(
                f"{record.topic}-{record.partition}@{record.offset}: {record.detail}; restore the topic from a replica"
            )
        try:
            event = self._decode(record)
        except DecodeError as exc:
            # Not one of ours, and the same for every reader: put aside, the fold goes on.
            self._dead_letters.put(owner, record, exc.code, exc.cause, acknowledge)
            return
        if isinstance(event, PartitionOpened):
            self._open(owner, event, record.offset, acknowledge)
        else:
            self._apply(owner, event, record.offset, acknowledge)

    def _decode(self, record: KafkaRecord) -> LogEvent:
        try:
            return self._env.codec.decode_event(
                record.value, topic=record.topic, partition=record.partition, offset=record.offset
            )
        except UnknownEventError as exc:
            msg = f"{record.topic}-{record.partition}@{record.offset}: {exc}; run a version that knows it"
            raise UnknownEventError(msg) from exc

    def _open(self, owner: Partition, event: PartitionOpened, offset: int, acknowledge: Callable[[], None]) -> None:
        write_path = self._env.write_path
        if owner.fold.open(event, offset=offset):
            write_path.put(owner.number, PARTITION_KEY, owner.fold.state, acknowledge, urgent=True)
        else:
            write_path.when_confirmed(owner.number, PARTITION_KEY, acknowledge)
        owner.opened(event, offset)

    def _apply(self, owner: Partition, event: SessionEvent, offset: int, acknowledge: Callable[[], None]) -> None:
        write_path, key = self._env.write_path, event.session_id.encode()
        session, verdict = owner.fold.apply(write_path.load(owner.number, key), event, offset=offset)
        if verdict is Verdict.APPLIED:
            is_outcome = isinstance(event, OUTCOMES)
            write_path.put(owner.number, key, session, acknowledge, urgent=is_outcome)
            if is_outcome:
                owner.outcome_folded(session, cast("Outcome", event))
        elif verdict is Verdict.REPEATED:
            write_path.when_confirmed(owner.number, key, acknowledge)
        else:
            acknowledge()
            owner.rejected(event, verdict)
        if isinstance(event, ToolCalled):
            owner.tool_called(event, verdict)
        if verdict is not Verdict.APPLIED:
            self._env.figures.rejected[verdict.value] += 1
