"""A deployment without workers: its topics hold what a test writes into them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.events import PartitionOpened
from schemas.serdes import Codec
from state.audit import AuditReport, FindingKind, audit
from state.store import SessionStore
from state.value import PARTITION_KEY, ValueCodec
from tests.functional.state.stores import make_store
from tests.unit.state.session_logs import Folded, PartitionLog, fold_all
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames

CODEC = Codec()
VALUES = ValueCodec(CODEC)


class Deployment:
    """One partition (or more) of everything."""

    def __init__(self, servers: str, names: TopicNames, data_dir: Path, partitions: int = 1) -> None:
        self.servers, self.names, self.data_dir = servers, names, data_dir
        ensure_topics(servers, catalog(names, partitions=partitions))
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})

    def close(self) -> None:
        """End the producer's thread."""
        self._producer.close()

    def produce(
        self, topic: str, pairs: Iterable[tuple[bytes | None, bytes | None]], partition: int = 0, headers: Any = None
    ) -> list[int]:
        """Write records; returns their offsets."""
        offsets: list[int] = []
        for key, value in pairs:
            self._producer.produce(
                topic,
                value,
                key,
                partition,
                lambda error, message: offsets.append(message.offset()),
                headers=headers or [],
            )
        assert self._producer.flush(20) == 0
        return offsets

    def write_log(self, log: PartitionLog) -> Folded:
        """Write a whole log and its messages; returns its fold."""
        written = self.produce(
            self.names.events,
            (
                (None if isinstance(event, PartitionOpened) else event.session_id.encode(), CODEC.encode(event))
                for _, event in log.records
            ),
        )
        assert written == [record.offset for record in log.records]
        offsets = self.produce(
            self.names.messages,
            (
                (message.session_id.encode(), json.dumps({"text": "?", "message_id": message.message_id}).encode())
                for message in log.messages
            ),
        )
        assert offsets == [message.offset for message in log.messages]
        return fold_all(log.records)

    def values(self, folded: Folded) -> dict[bytes, bytes]:
        """A fold's result as table values."""
        values = {key.encode(): VALUES.encode(session) for key, session in folded.sessions.items()}
        return {**values, PARTITION_KEY: VALUES.encode(folded.partition.state)}

    def write_changelog(self, values: Iterable[tuple[bytes | None, bytes | None]]) -> list[int]:
        """Write table values."""
        return self.produce(self.names.changelog, values)

    def commit(self, events: int, messages: int, partition: int = 0) -> None:
        """Commit the group's offsets, as its last member did."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": self.names.group_id})
        consumer.commit(
            offsets=[
                TopicPartition(self.names.events, partition, events),
                TopicPartition(self.names.messages, partition, messages),
            ],
            asynchronous=False,
        )
        consumer.close()

    def delete_before(self, topic: str, offset: int) -> None:
        """Remove a topic's beginning, as retention or compaction does."""
        admin = AdminClient({"bootstrap.servers": self.servers})
        policy = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[policy])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(20)
        for future in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
            future.result(20)

    def store(self, worker: str = "worker-1") -> SessionStore:
        """The local store of a worker of this machine."""
        return make_store(self.data_dir / "workers" / worker, prefix=self.names.prefix)

    def audit(self, **options: Any) -> AuditReport:
        """Audit it, local tables included."""
        return audit(self.servers, self.names, data_dir=self.data_dir, **options)


def kinds(report: AuditReport) -> dict[FindingKind, int]:
    """What was found, by kind."""
    return {FindingKind(kind): count for kind, count in report.counts.items()}
