"""The thread that runs aiokafka, between Faust's consumer service and the broker."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from schemas.errors import AccessError, WorkerStuckError
from streams.credentials import shows_no_credentials
from streams.delivery import KafkaRecord
from streams.membership import Membership
from streams.unpacking import unpack_tolerantly
from topics.access import GRANT

if TYPE_CHECKING:
    from streams.consumer import SessionConsumer

logger = logging.getLogger(__name__)

#: How long the broker holds a fetch without data. Short, because aiokafka has one fetch per broker in flight
#: and a partition just drained waits for the others (P3: 350 against 1,745 turns/s).
FETCH_MAX_WAIT_MS: Final = 20

#: How long records of one partition that were not taken yet keep the next fetch of their broker waiting, so that it
#: covers all partitions. aiokafka's 0.1 s is what ``events`` would wait for ``messages`` that back-pressure holds;
#: with 0 a partition taken a moment later waits for a fetch that leaves it out (first token 45 ms instead of 10).
PREFETCH_BACKOFF_S: Final = 0.005

#: Longest time that leaving the group waits for its last commit, in seconds.
LAST_COMMIT_S: Final = 2.0

#: Pause after a metadata request that no broker answered, in seconds; aiokafka's own between other retries.
METADATA_RETRY_S: Final = 0.1

#: Pause before a worker that starts asks for its broker again, in seconds.
RECONNECT_S: Final = 0.5

#: Connecting again does not help against these.
_REFUSALS: Final = (
    AuthenticationFailedError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
    ssl.SSLCertVerificationError,
)
_DENIALS: Final = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)


def wait_for_brokers(client: AIOKafkaClient) -> None:
    """Have the search for the group's coordinator wait while no broker is known.

    A broker that has just started may name none, itself included. aiokafka asserts that there is one, and the task that
    would have joined the group ends unseen.
    """
    lookup = client.coordinator_lookup

    async def patient_lookup(kind: int, key: str) -> int:
        if client.get_random_node() is None:
            raise NodeNotReadyError("no broker is known yet")  # asked again after a pause
        found: int = await lookup(kind, key)
        return found

    client.coordinator_lookup = patient_lookup


class LeasedConsumerThread(AIOKafkaConsumerThread):
    """The thread that runs aiokafka: short fetches, a lease from the group's answers, commits that do not crash."""

    consumer: SessionConsumer
    membership: Membership

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commits: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        unpack_tolerantly()  # C1
        logging.getLogger(create_conn.__module__).addFilter(shows_no_credentials)
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # P3
        consumer._isolation_level = "read_committed"  # an aborted message was never accepted
        wait_for_brokers(consumer._client)
        return consumer

    async def on_start(self) -> None:
        """Start aiokafka, note what the group makes of us (R2), and have failed metadata requests wait."""
        if not await self._connect():
            return
        self._survive_group_errors()
        self._end_with_tasks()
        self._wait_for_metadata()
        self._end_cancelled_fetches()
        self._ensure_consumer()._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
        consumer = self.consumer
        self.membership = Membership(self._ensure_consumer()._coordinator, consumer.lease, lambda: consumer.generation)

    async def _connect(self) -> bool:
        """Start aiokafka, and wait for a broker that went away since its topics were looked at.

        Returns whether it has started: not where the worker ends before.

        aiokafka gives up at the first refused connection, and Faust waits for a thread that did not start for ever:
        where a broker refuses us, the worker is told to end, and this goes on until it does.
        """
        while True:
            try:
                await super().on_start()
            except KafkaConnectionError as exc:
                await self._ensure_consumer().stop()
                if self.should_stop:
                    return False
                await self._end_if_refused()
                logger.warning("no broker answers: %s; trying again", exc)
                await asyncio.sleep(RECONNECT_S)
            else:
                return True

    async def _end_if_refused(self) -> None:
        """Connect once more, to see why it failed: aiokafka only logs that."""
        client = self._ensure_consumer()._client
        for host, port, _ in client.hosts:
            try:
                connection = await create_conn(
                    host,
                    port,
                    request_timeout_ms=client._request_timeout_ms,
                    ssl_context=client._ssl_context,
                    security_protocol=client._security_protocol,
                    sasl_mechanism=client._sasl_mechanism,
                    sasl_plain_username=client._sasl_plain_username,
                    sasl_plain_password=client._sasl_plain_password,
                )
            except _REFUSALS as exc:
                self._end(f"Kafka at {host}:{port} and this worker's consumer group refuse each other: {exc}")
            except (OSError, KafkaError, TimeoutError) as exc:
                logger.debug("%s:%d: %s", host, port, exc)
            else:
                await connection.close()

    def _survive_group_errors(self) -> None:
        """Have the group's task go on after an error, and the worker end where Kafka lets it not into the group.

        aiokafka keeps an error for whoever asks it for records the usual way, and its task waits until then: nobody
        would, and this worker would belong to no group, without a word, until its watchdog ends it.
        """
        coordinator = self._ensure_consumer()._coordinator
        push = coordinator._push_error_to_user

        async def go_on(exc: BaseException) -> None:
            if isinstance(exc, _DENIALS):
                self._end(f"Kafka does not let this worker into its consumer group ({exc}); {GRANT}")
                await push(exc)
                return
            logger.warning("the consumer group: %r; joining again", exc)
            coordinator.request_rejoin()  # it also begins anew what of the group's other tasks has ended
            await asyncio.wait({coordinator._closing}, timeout=RECONNECT_S)

        coordinator._push_error_to_user = go_on

    def _end_with_tasks(self) -> None:
        """Have the worker end where one of aiokafka's own tasks fails: nothing would come any more, without a word."""

        async def watched(task: asyncio.Task[None], what: str) -> None:
            try:
                await task
            except Exception as exc:  # noqa: BLE001 -- kept from closing, which would raise it
                self._fail(f"{what} failed: {exc.__cause__ or exc!r}")

        consumer = self._ensure_consumer()
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        coordinator._coordination_task = asyncio.create_task(
            watched(coordinator._coordination_task, "the consumer group's task")
        )
        fetcher._fetch_task = asyncio.create_task(watched(fetcher._fetch_task, "the task that fetches"))

    def _end(self, why: str) -> None:
        """Tell the worker to end; again would not help."""
        self.parent_loop.call_soon_threadsafe(self.consumer.wiring.fail, AccessError(why))

    def _fail(self, what: str) -> None:
        """Tell the worker to end; another start helps."""
        failure = WorkerStuckError(f"{what}; another start helps")
        self.parent_loop.call_soon_threadsafe(self.consumer.wiring.fail, failure)

    def _wait_for_metadata(self) -> None:
        """Pause after a metadata request that failed.

        aiokafka's fetcher asks again at once for as long as a partition has no leader and no broker answers:
        4,000 times a second, a whole core and as many lines in the log.
        """
        client = self._ensure_consumer()._client
        update = client._metadata_update

        async def update_or_wait(*args: Any) -> bool:
            is_updated: bool = await update(*args)
            if not is_updated:
                await asyncio.sleep(METADATA_RETRY_S)
            return is_updated

        client._metadata_update = update_or_wait

    def _end_cancelled_fetches(self) -> None:
        """Have a cancelled fetch return in any case, as aiokafka means it to.

        One that pauses after an error raises instead, and takes ``Fetcher.close`` and the thread's end with it.
        """
        fetcher = self._ensure_consumer()._fetcher
        fetch = fetcher._proc_fetch_request

        async def fetch_or_end(*args: Any) -> bool:
            try:
                needs_wakeup: bool = await fetch(*args)
            except asyncio.CancelledError:
                return False
            return needs_wakeup

        fetcher._proc_fetch_request = fetch_or_end

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit under our generation; False where the group or the broker refused (S5: never assumed)."""
        if self._is_leaving:
            return False
        commit = asyncio.create_task(
            self._ensure_consumer().commit(
                {aiokafka.TopicPartition(*tp): (offset, "") for tp, offset in offsets.items()}
            )
        )
        self._commits.add(commit)  # aiokafka asks for ever while no broker answers: leaving ends it
        try:
            await asyncio.wait({commit})
            if commit.cancelled():
                logger.warning("commit given up: no broker has answered")
                return False
            commit.result()
        except (KafkaError, ValueError) as exc:
            logger.warning("commit refused: %s", exc)
            return False
        finally:
            commit.cancel()
            self._commits.discard(commit)
        return True

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 -- Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[KafkaRecord]]:
        """Take what is fetched: ``events`` and ``control`` whole, so that a flood of messages starves neither."""
        if not self.consumer.flow_active:
            return {}
        fetched_records = consumer._fetcher.fetched_records
        messages = {tp for tp in active_partitions if tp.topic == self.consumer.bulk_topic}
        first = active_partitions - messages
        records: dict[TP, list[KafkaRecord]] = {}
        try:
            with consumer._subscription.fetch_context():
                if first:
                    records = await fetched_records(first, timeout=0)
                if messages:
                    records |= await fetched_records(messages, timeout=0, max_records=max_records)
                if not records:
                    records = await fetched_records(active_partitions, timeout=timeout, max_records=max_records)
        except TopicAuthorizationFailedError as exc:
            self._end(f"Kafka does not let this worker read a topic ({exc}); {GRANT}")
        except KafkaError as exc:  # raised, it would tear down the thread, and the membership with it
            self._fail(f"the consumer cannot fetch: {exc!r}")
            await asyncio.sleep(METADATA_RETRY_S)  # asked again until the worker ends
        return records

    async def rewind(self, positions: Mapping[TP, int], paused: Collection[TP]) -> None:
        """Put the fetch positions of assigned partitions; ``paused`` ones are not fetched at all, all others are."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        # Paused by an earlier call, which had not heard of this assignment: nobody else would resume them.
        consumer.resume(*(consumer.paused() - {aiokafka.TopicPartition(*tp) for tp in paused}))
        consumer.pause(*[aiokafka.TopicPartition(*tp) for tp in paused if tp in assigned])
        for tp, position in positions.items():
            if tp in assigned:
                consumer.seek(aiokafka.TopicPartition(*tp), position)

    async def positions(self) -> dict[TP, int]:
        """Return how far each assigned partition was taken out of aiokafka."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return {}
        states = {TP(*tp): assignment.state_value(tp) for tp in assignment.tps}
        return {tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position}

    async def committed(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Return where each partition begins: its committed offset, or its first one."""
        consumer = self._ensure_consumer()
        partitions = [aiokafka.TopicPartition(*tp) for tp in tps]
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        earliest = await consumer.beginning_offsets(partitions)
        found: dict[TP, int] = {}
        for tp in partitions:
            known = committed.get(tp)
            offset = known.offset if known is not None else -1
            if 0 <= offset < earliest[tp]:
                logger.error(
                    "%s-%d: offsets %d to %d were deleted unread", tp.topic, tp.partition, offset, earliest[tp]
                )
            found[TP(*tp)] = max(offset, earliest[tp])
        return found

    async def leave(self) -> None:
        """Leave the group now, and for good; commits that no broker has answered end here.

        To be called on the thread's own loop: commits that wait may hold both of the method queue's workers.
        """
        self._is_leaving = True
        for commit in self._commits:
            commit.cancel()
        await self._ensure_consumer()._coordinator.close()

    @property
    def member_id(self) -> str:
        """This member's id in the group; empty while it has none."""
        return str(self._ensure_consumer()._coordinator.member_id)
