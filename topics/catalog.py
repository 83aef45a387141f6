"""What every topic holds, and how Kafka keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from schemas.errors import SettingsError
from topics.names import TopicNames

CleanupPolicy = Literal["delete", "compact"]

FOREVER_MS = -1
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

MAX_INPUT_BYTES = 1_048_588
"""Largest record batch taken in (Kafka's own default: 1 MiB and a batch header)."""

MAX_RECORD_BYTES = 4 * 1_048_576
"""Largest record batch written by us: an event, a dead letter or a session value may hold a whole input record and its
envelope, a snapshot beside an answer. Our producers set ``message.max.bytes`` to this."""

_BROKERS_CLOCK = "LogAppendTime"
_SESSION_KEY = "session_id | tenant/session_id"
_DEFAULT_MIN_INSYNC = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic as it has to be.

    Args:
        name: The topic's name in Kafka.
        key: What a record's key is, for people.
        value: What a record's value is, for people.
        partitions: Number of partitions, the same for all topics of a deployment.
        replication_factor: Copies of a partition.
        cleanup_policy: ``delete`` (by age) or ``compact`` (newest value of a key).
        retention_ms: Age in milliseconds after which a record may go; -1 is for ever.
        config: Further topic settings, by Kafka's names.
        is_policy_binding: Whether another cleanup policy would break a guarantee, and is therefore refused.
    """

    name: str
    key: str = _SESSION_KEY
    value: str
    partitions: int
    replication_factor: int = 1
    cleanup_policy: CleanupPolicy = "delete"
    retention_ms: int
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_policy_binding: bool = False

    def kafka_config(self) -> dict[str, str]:
        """Return every setting of the topic under Kafka's name for it."""
        return {"cleanup.policy": self.cleanup_policy, "retention.ms": str(self.retention_ms), **self.config}


def catalog(
    names: TopicNames,
    partitions: int = 16,
    *,
    replication_factor: int = 1,
    min_insync_replicas: int | None = None,
    messages_retention_ms: int = 7 * DAY_MS,
    events_retention_ms: int = FOREVER_MS,
    tokens_retention_ms: int = DAY_MS,
    dead_letters_retention_ms: int = 30 * DAY_MS,
) -> tuple[TopicSpec, ...]:
    """Return the six topics of a deployment, in the order of ``names.all``.

    Args:
        names: Where the names come from.
        partitions: Partitions of each topic; fixed for a deployment's life.
        replication_factor: Copies of each partition.
        min_insync_replicas: Copies that must hold a record before it counts as written; by default 2 where there are
            three or more copies, so that one broker may fail without a loss or a stop, else 1.
        messages_retention_ms: For messages and control.
        events_retention_ms: Finite only where a log without its beginning is acceptable.
        tokens_retention_ms: How far back a reader can resume.
        dead_letters_retention_ms: How long an operator has to look at them.

    Raises:
        SettingsError: A number that Kafka cannot satisfy; the field is named.
    """
    if min_insync_replicas is None:
        min_insync_replicas = min(_DEFAULT_MIN_INSYNC, max(1, replication_factor - 1))
    if partitions < 1:
        raise SettingsError(f"partitions: {partitions} is impossible; a topic has at least one")
    if not 1 <= min_insync_replicas <= replication_factor:
        message = (
            f"min_insync_replicas: {min_insync_replicas} of replication_factor {replication_factor} is impossible; "
            f"choose 1 to {replication_factor}"
        )
        raise SettingsError(message)

    def spec(  # one place fills in what all six share
        name: str,
        value: str,
        retention_ms: int,
        *,
        policy: CleanupPolicy = "delete",
        binding: bool = False,
        **config: int | str,
    ) -> TopicSpec:
        settings = {"min_insync_replicas": min_insync_replicas, **config}
        return TopicSpec(
            name=name,
            value=value,
            partitions=partitions,
            replication_factor=replication_factor,
            cleanup_policy=policy,
            retention_ms=retention_ms,
            config=MappingProxyType({key.replace("_", "."): str(setting) for key, setting in settings.items()}),
            is_policy_binding=binding,
        )

    return (
        # Clients write these two: their age, for shedding and retention, is told by the broker's clock, not by theirs.
        spec(
            names.messages,
            "Message",
            messages_retention_ms,
            max_message_bytes=MAX_INPUT_BYTES,
            message_timestamp_type=_BROKERS_CLOCK,
        ),
        spec(
            names.control,
            "Control",
            messages_retention_ms,
            max_message_bytes=MAX_INPUT_BYTES,
            message_timestamp_type=_BROKERS_CLOCK,
        ),
        # Compaction would keep one event a session: the log would be gone.
        spec(names.events, "SessionEvent", events_retention_ms, binding=True, max_message_bytes=MAX_RECORD_BYTES),
        # Kafka deletes whole segments: short ones, or a slow topic keeps its tokens for a week.
        spec(
            names.tokens,
            "Token",
            tokens_retention_ms,
            max_message_bytes=MAX_INPUT_BYTES,
            segment_ms=max(HOUR_MS, tokens_retention_ms // 4),
        ),
        spec(names.dead_letters, "DeadLetter", dead_letters_retention_ms, max_message_bytes=MAX_RECORD_BYTES),
        # Compact only: deletion by age would lose idle sessions, and recovery hangs on an emptied changelog (F17).
        # A late reader meets every value of the last day, and tombstones for a week (local stores older than half of
        # that are wiped); an erased session's older values are gone within a week, too. Segments of a day, since
        # Kafka compacts only closed ones.
        spec(
            names.changelog,
            "SessionValue",
            FOREVER_MS,
            policy="compact",
            binding=True,
            max_message_bytes=MAX_RECORD_BYTES,
            min_compaction_lag_ms=DAY_MS,
            max_compaction_lag_ms=7 * DAY_MS,
            delete_retention_ms=7 * DAY_MS,
            segment_ms=DAY_MS,
        ),
    )
