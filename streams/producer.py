"""The one producer of a worker: events, tokens, changelog, dead letters and re-routed messages.

librdkafka, idempotent, acks=all: order within a partition is the order of ``send``, and a retry writes nothing
twice. A record that comes alone is sent at once; under load records are gathered for a few milliseconds, so that
each partition's batch carries several. Deliveries are reported on the event loop, in order, many at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import AccessError, BrokerError, DeliveryUnknownError, RecordTooLargeError, WriteRefusedError
from topics.access import GRANT, is_denied
from topics.catalog import MAX_RECORD_BYTES

logger = logging.getLogger(__name__)

#: How long records are gathered under load; a lone one does not wait. A broker works per batch, not per record, and
#: 16 partitions of three topics share what a few milliseconds bring: the more is unconfirmed, the longer it pays to
#: wait (4 ms throughout: 1,040 turns/s; up to 25 ms: 1,650, benchmarks/README.md).
GATHER_S: Final = 0.004
MAX_GATHER_S: Final = 0.025
GATHER_PER_UNCONFIRMED_S: Final = 0.00005

#: Records within ``GATHER_S`` from which on there is load. One turn alone writes seven.
LOAD_RECORDS: Final = 24

#: After this long without a confirmation a delivery is unknown. Long enough for a broker's restart.
DELIVERY_TIMEOUT_S: Final = 60.0

#: How often deliveries are asked for while some are due. The client has no wake-up for a foreign event loop, and a
#: thread of its own would fight the loop for the interpreter: 10 % of the worker's time (py-spy).
POLL_S: Final = 0.001

#: How long librdkafka waits to batch what one burst hands over, in ms; far below a fetch's round trip.
LINGER_MS: Final = 0.5

#: Of a delivery that librdkafka reports as a success without an offset: the broker took the batch for a repeat of one
#: that it has. It need not have it. Where a partition has no leader for a moment and the next batch in flight finds it,
#: the broker begins this producer's sequence there and calls the first batch a duplicate (`docs/chaos.md`).
_WITHOUT_PLACE: Final = "the broker took it for a repeat and does not say where it is"

#: ``(error, offset)``; offset is -1 with an error.
OnDelivery = Callable[[DeliveryUnknownError | None, int], None]
Headers = list[tuple[str, bytes]]


class Record(NamedTuple):
    """One record to be written; ``partition`` is always explicit."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    on_delivery: OnDelivery | None


class RecordProducer:
    """Writes records and reports their deliveries on the event loop that made it."""

    def __init__(
        self,
        client_config: Mapping[str, object],
        *,
        may_write: Callable[[], bool] = lambda: True,
        on_fatal: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        """Connect.

        While ``may_write`` says no, records are reported as unknown instead of written (R2). ``on_fatal(error)``
        hears that the client cannot go on, or may not write to a topic: the worker has to end.
        """
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        self._may_write = may_write
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": LINGER_MS,
                "compression.type": "none",
                "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000),
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 512 * 1024,
                "socket.nagle.disable": True,
                "message.max.bytes": MAX_RECORD_BYTES,
                "error_cb": self._client_error,
                **client_config,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._gathered: deque[Record] = deque()
        self._flush_timer: asyncio.Handle | None = None
        self._flushed_at = 0.0
        #: Records of the running window and of the one before it: the load.
        self._window_began = 0.0
        self._recent = self._before = 0
        self._poll_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    # -- Sending (event loop)

    def send(self, record: Record) -> None:
        """Queue a record; never blocks. Its delivery is reported once, also when it is unknown.

        Raises:
            DeliveryUnknownError: The producer is closed.
        """
        if self._is_closed:
            msg = "the producer is closed"
            raise DeliveryUnknownError(msg)
        self._gathered.append(record)
        self._recent += 1
        if self._flush_timer is None:
            now = self._loop.time()
            if now - self._window_began > GATHER_S:
                self._window_began, self._before, self._recent = now, self._recent, 0
                if now - self._flushed_at > 2 * GATHER_S:
                    self._before = 0
            if max(self._before, self._recent) < LOAD_RECORDS:
                # One turn of the loop later: what a turn writes at its start travels together, first delta included.
                self._flush_timer = self._loop.call_soon(self._flush_soon)
            else:
                self._flush_timer = self._loop.call_at(self._flushed_at + self.gather_s, self._flush)

    @property
    def gather_s(self) -> float:
        """How long records are gathered under the present load, in seconds."""
        return min(MAX_GATHER_S, GATHER_S + len(self._producer) * GATHER_PER_UNCONFIRMED_S)

    @property
    def backlog(self) -> int:
        """How many records are queued and not confirmed."""
        return len(self._gathered) + len(self._producer)

    def _flush_soon(self) -> None:
        self._flush_timer = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self._flushed_at = self._loop.time()
        if not self._may_write():
            self._drop_gathered("the lease is over")
            return
        gathered, produce = self._gathered, self._producer.produce
        while gathered:
            record = gathered[0]
            try:
                produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    self._report_to(record.on_delivery),
                    headers=record.headers,
                )
            except BufferError:  # F21: full means wait, not drop
                self._flush_timer = self._loop.call_later(GATHER_S, self._flush)
                break
            except Exception as exc:  # noqa: BLE001 -- a record that cannot be queued is reported, not raised
                logger.error("record for %s-%d refused: %s", record.topic, record.partition, exc)  # noqa: TRY400
                if record.on_delivery is not None:
                    self._loop.call_soon(record.on_delivery, _error_of(exc), -1)
            gathered.popleft()
        self._poll()

    # -- Deliveries

    def _report_to(self, on_delivery: OnDelivery | None) -> Callable[[KafkaError | None, Message], None] | None:
        if on_delivery is None:
            return None

        def report(error: KafkaError | None, message: Message) -> None:
            try:
                offset = message.offset()
                if error is not None:
                    on_delivery(self._failed(error, message.topic()), -1)
                elif offset is None:
                    on_delivery(DeliveryUnknownError(_WITHOUT_PLACE), -1)
                else:
                    on_delivery(None, offset)
            except Exception:
                logger.exception("a delivery callback raised")

        return report

    def _failed(self, error: KafkaError, topic: str | None) -> DeliveryUnknownError:
        """Say what an unconfirmed record means to its sender; one that ACLs forbid is none for a worker to repeat."""
        if not is_denied(error):
            return _error_of(error)
        why = f"Kafka does not let this user write to {topic} ({error.str()}); {GRANT}"
        if not self._is_closed:
            self._on_fatal(AccessError(why))
        return WriteRefusedError(why)

    def _poll(self) -> None:
        """Serve what is due, and come back while something is."""
        if self._poll_timer is not None:
            self._poll_timer.cancel()
            self._poll_timer = None
        self._producer.poll(0)
        if self._gathered or len(self._producer):
            self._poll_timer = self._loop.call_later(POLL_S, self._poll)

    def _client_error(self, error: KafkaError) -> None:
        if error.fatal() and not self._is_closed:
            kind = AccessError if is_denied(error) else BrokerError
            self._on_fatal(kind(f"the producer cannot go on: {error.str()}"))

    # -- Ending

    def purge(self) -> None:
        """Drop what is queued and not yet confirmed; its deliveries are reported as unknown (hazard R2)."""
        self._drop_gathered("purged")
        self._producer.purge(in_queue=True, in_flight=False, blocking=False)

    def _drop_gathered(self, reason: str) -> None:
        dropped, self._gathered = self._gathered, deque()
        for record in dropped:
            if record.on_delivery is not None:
                self._loop.call_soon(record.on_delivery, DeliveryUnknownError(reason), -1)

    async def flush(self, timeout_s: float) -> int:
        """Wait until all is confirmed, at most ``timeout_s``; returns how many records are left."""
        end = self._loop.time() + timeout_s
        while self.backlog and self._loop.time() < end:
            if self._gathered and self._flush_timer is None:
                self._flush()
            await asyncio.sleep(POLL_S)
        return self.backlog

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush, take no more and let the client's threads and sockets go; what is left is reported as unknown.

        Collecting the garbage would do it too, but late: the client's callbacks make a cycle of it and this object.
        """
        self._is_closed = True
        await self.flush(timeout_s)
        for timer in (self._flush_timer, self._poll_timer):
            if timer is not None:
                timer.cancel()
        self._drop_gathered("the producer is closed")
        if len(self._producer):  # else closing would wait for the broker, however long that is away
            self._producer.purge()
            with suppress(KafkaException):  # one that cannot go on says so once more
                self._producer.poll(0)
        await asyncio.to_thread(self._producer.close)


def _error_of(error: KafkaError | Exception) -> DeliveryUnknownError:
    """Say what a refused or unconfirmed record means to its sender."""
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else error
    if isinstance(cause, KafkaError) and cause.code() in {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}:
        return RecordTooLargeError(str(error))
    return DeliveryUnknownError(str(error))
