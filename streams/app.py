"""The app factory: the only ``faust.App``, with every part of Faust that we replace plugged in here.

What stays Faust's: the group membership and its rebalance, the co-partitioned assignment, the agents and their
channels, the services' start and stop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.types import TransportT
from faust.types.auth import CredentialsT

from state.options import StoreOptions
from state.recovery import Recovery
from state.standby import Standbys
from state.table import SESSIONS, SessionTable
from streams.assignor import SessionAssignor
from streams.consumer import MAX_POLL_RECORDS, SessionTransport
from streams.delivery import Delivery
from streams.intake import Intake
from streams.lease import Lease
from streams.options import ConsumerOptions
from streams.ownership import Ownership
from streams.pressure import BackPressure
from streams.projector import Projector
from streams.rebalance import SessionTableManager
from topics.members import member_client_id
from topics.names import TopicNames


@dataclass(slots=True)
class Wiring:
    """What our subclasses of Faust's parts reach through the app; filled by the composition root."""

    names: TopicNames
    lease: Lease
    ownership: Ownership
    recovery: Recovery
    pressure: BackPressure
    standbys: Standbys
    fail: Callable[[BaseException], None]


class ConsumerOnly(BootStrategy):
    """Starts no producer of Faust's: ours writes all, and a worker whose Faust producer finds no broker never ends."""

    enable_kafka_producer = False


class BarnabasApp(faust.App):
    """A Faust app with our transport."""

    BootStrategy = ConsumerOnly
    barnabas: Wiring

    def _new_transport(self) -> TransportT:
        return SessionTransport(self.conf.broker_consumer, self)


def create_app(
    *,
    names: TopicNames,
    bootstrap_servers: str,
    partitions: int,
    data_dir: Path,
    worker: str,
    consumer: ConsumerOptions,
    store: StoreOptions,
    standby_replicas: int = 0,
    reads_url: str | None = None,
    credentials: CredentialsT | None = None,
) -> tuple[BarnabasApp, SessionTable]:
    """Make the app and its table; nothing is connected yet.

    Args:
        names: The deployment's topics.
        bootstrap_servers: ``host:port`` list, comma separated.
        partitions: N of every topic.
        data_dir: This worker's own folder.
        worker: Its name, unique in the deployment.
        consumer: The group's timing.
        store: RocksDB's bounds.
        standby_replicas: Copies of each partition kept by other workers.
        reads_url: Where the worker answers reads; told to whoever describes the group.
        credentials: How the consumer group connects; plain text without a user where None.
    """
    app = BarnabasApp(
        names.app_id,
        broker=[f"kafka://{server}" for server in bootstrap_servers.split(",")],
        broker_credentials=credentials,
        datadir=str(data_dir),
        store="rocksdb://",
        Table=SessionTable,
        TableManager=SessionTableManager,
        autodiscover=False,  # it turns an import error into a warning
        web_enabled=False,  # F22
        broker_client_id=member_client_id(worker, reads_url),
        canonical_url=f"http://{worker}",  # Faust's assignor tells members apart by it (T3)
        topic_allow_declare=False,
        topic_partitions=partitions,
        topic_disable_leader=True,
        processing_guarantee="at_least_once",  # F5-F9
        stream_wait_empty=False,  # F11
        stream_publish_on_commit=False,  # F23
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=consumer.session_timeout_s,
        broker_heartbeat_interval=consumer.heartbeat_interval_s,
        broker_rebalance_timeout=consumer.rebalance_timeout_s,
        # A request to join is answered when the others have joined.
        broker_request_timeout=max(30.0, consumer.session_timeout_s, consumer.rebalance_timeout_s + 5.0),
        broker_commit_interval=consumer.commit_interval_s,
        broker_max_poll_records=MAX_POLL_RECORDS,  # P4
        broker_max_poll_interval=86_400.0,  # our loop polls whenever it may; an idle worker must not leave
        PartitionAssignor=SessionAssignor,
        table_standby_replicas=standby_replicas,
        worker_redirect_stdouts=False,
    )
    table = app.Table(
        SESSIONS, partitions=partitions, key_type=bytes, value_type=bytes, options={"store_options": store}
    )
    return app, table


def bind_agents(
    app: BarnabasApp, names: TopicNames, *, intake: Intake, projector: Projector, pressure: BackPressure
) -> None:
    """Bind the three agents, concurrency 1, names pinned; each hands its deliveries on and is done."""

    def take_messages(delivery: Delivery) -> None:
        intake.messages(delivery)
        ownership = app.barnabas.ownership
        pressure.update(ownership.consumer, draining=ownership.draining, stopped=ownership.stopped_tps())

    for name, take in (
        (names.messages, take_messages),
        (names.control, intake.control),
        (names.events, projector.handle),
    ):
        topic = app.topic(name, key_type=bytes, value_type=bytes, acks=False, maxsize=0)
        app.agent(topic, name=f"{name}.agent")(_thin_agent(take))


def _thin_agent(take: Callable[[Delivery], None]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Make an agent that takes each delivery at once: it never waits, and ``take`` never raises (P1, F2)."""

    async def agent(stream: Any) -> None:
        async for deliveries in stream.noack():
            for delivery in deliveries:
                take(delivery)

    return agent
