"""Which Kafka a client talks to, and what it finds there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from barnabas.configuration import MASK, bootstrap_servers_of, is_secret
from barnabas.sources import FieldError
from schemas.errors import BrokerError, TopicMismatchError
from schemas.serdes import Codec
from topics.access import GRANT, reach
from topics.names import TopicNames
from topics.partitioner import partition_for

if TYPE_CHECKING:
    from barnabas.settings import Settings

_TIMEOUT_S = 15.0
#: librdkafka's name of what a secured connection cannot do without.
SECURITY = "security.protocol"


class Connection(NamedTuple):
    """A deployment as its clients see it.

    Attributes:
        servers: ``host:port[,host:port]``.
        names: Its topics.
        partitions: Of every topic.
        client_config: librdkafka settings, the address among them.
        codec: Of its records.
        data_dir: Where indexes are kept.
    """

    servers: str
    names: TopicNames
    partitions: int
    client_config: Mapping[str, Any]
    codec: Codec
    data_dir: Path

    def __repr__(self) -> str:
        """Leave out the librdkafka settings, which hold a password."""
        return f"Connection({self.servers!r}, {self.names!r}, {self.partitions} partitions)"

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a session's key."""
        return partition_for(key, self.partitions)


def check_client_config(client_config: Mapping[str, Any]) -> None:
    """Try settings on a client, which connects to nothing.

    Raises:
        FieldError: There is no such setting, or it cannot have that value.
    """
    try:
        AdminClient({"log_level": 0, **client_config})
    except KafkaException as error:
        why = error.args[0].str()
        for name, value in client_config.items():
            if is_secret(name):
                why = why.replace(str(value), MASK)
        named = [(name,) for name in client_config if f'"{name}"' in why]
        raise FieldError(named[0] if named else (), why) from error


def connect(settings: Settings) -> Connection:
    """Find the deployment that the settings name; blocks for some milliseconds, at most 15 s.

    Raises:
        AccessError: Kafka refused the credentials, or its certificate cannot be trusted.
        BrokerError: No Kafka is known or answers, or it has no such deployment.
        TopicMismatchError: The topics have another number of partitions than the settings say.
    """
    servers = bootstrap_servers_of(settings)
    config = {"bootstrap.servers": servers, "log_level": 0, **settings.kafka}
    names = settings.names
    topics = reach(servers, config, timeout_s=_TIMEOUT_S)[1].topics
    counts = {}
    for topic in (names.messages, names.control, names.events, names.tokens):
        found = topics.get(topic)
        if found is None or not found.partitions:
            hidden = f", or {GRANT}" if SECURITY in config else ""  # Kafka shows nobody what he may not see
            raise BrokerError(
                f"there is no topic {topic} at {servers}; start a worker, which makes it, or check prefix{hidden}"
            )
        counts[topic] = len(found.partitions)
    count = counts[names.messages]
    if set(counts.values()) != {count}:
        raise TopicMismatchError(f"the topics of {names.prefix} have different numbers of partitions: {counts}")
    if "partitions" in settings.model_fields_set and settings.partitions != count:
        raise TopicMismatchError(
            f"partitions: {settings.partitions}, but {names.messages} has {count}; set it to that number"
        )
    return Connection(
        servers, names, count, config, Codec(registry_url=settings.schema_registry_url), settings.data_dir
    )
