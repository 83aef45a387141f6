"""Reads any topic of a deployment, partition by partition, for the audit; it never joins the group it looks at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import RecoveryError

#: Records taken at once.
BATCH: Final = 5000

#: ``consume`` waits this long for a full batch; short, since each partition ends with a batch that is not full.
_POLL_S: Final = 0.03

_REQUEST_S: Final = 10.0
_PAUSE_S: Final = 0.1
_COORDINATOR_MOVES: Final = frozenset(
    {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
)

#: Longest time without a single record where records are due, in seconds.
_STALL_S: Final = 30.0


class AuditReader:
    """One consumer for a whole audit; partitions are assigned by hand, one at a time. Blocking.

    Args:
        bootstrap_servers: ``host:port`` list, comma separated.
        group: Whose committed offsets are asked for.
        client_config: Further librdkafka settings (TLS, SASL).
        on_read: Called with the number of records after each batch.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        client_config: Mapping[str, object] | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        self._on_read = on_read
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                **(client_config or {}),
                "group.id": group,  # to ask for its offsets; nothing is subscribed or committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.queue.backoff.ms": 10,
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 65536,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def partition_count(self, topic: str) -> int:
        """Return a topic's number of partitions.

        Raises:
            RecoveryError: There is no such topic.
        """
        found = self._consumer.list_topics(topic, timeout=_REQUEST_S).topics[topic]
        if found.error is not None or not found.partitions:
            msg = f"topic {topic} cannot be read ({found.error}); check the prefix and the broker's address"
            raise RecoveryError(msg)
        return len(found.partitions)

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """Return ``(earliest, end)``; ``end`` is the next offset to be written."""
        first, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_REQUEST_S)
        return first, end

    def committed(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return what the group has committed, -1 for nothing."""
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        give_up = time.monotonic() + _STALL_S
        while True:
            try:
                answer = self._consumer.committed(wanted, timeout=_REQUEST_S)
                return {tp.partition: max(tp.offset, -1) for tp in answer}
            except KafkaException as exc:  # a broker just started loads its coordinators for a while
                if exc.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE_S)

    def read(self, topic: str, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """Yield the records from ``first`` to ``end`` (excluded) in batches; holes are skipped.

        Raises:
            RecoveryError: The broker gave nothing for a long time.
        """
        if first >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, first if first > 0 else OFFSET_BEGINNING)])
        try:
            next_offset, moved_at = first, time.monotonic()
            while next_offset < end:
                messages = self._consumer.consume(min(BATCH, end - next_offset), _POLL_S)
                batch, is_end = _sound(messages, end)
                if batch:
                    next_offset, moved_at = batch[-1].offset() + 1, time.monotonic()
                    yield batch
                    if self._on_read is not None:
                        self._on_read(len(batch))
                if is_end:
                    return
                if time.monotonic() - moved_at > _STALL_S:
                    msg = f"{topic}-{partition}: nothing came for {_STALL_S:g} s at offset {next_offset} of {end}"
                    raise RecoveryError(msg)
        finally:
            self._consumer.unassign()


def _sound(messages: list[Message], end: int) -> tuple[list[Message], bool]:
    """Return the records before ``end``, and whether the end was reached."""
    batch: list[Message] = []
    for message in messages:
        error = message.error()
        if error is None:
            if message.offset() >= end:
                return batch, True
            batch.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            return batch, True
        elif not error.retriable():
            raise KafkaException(error)
    return batch, False
