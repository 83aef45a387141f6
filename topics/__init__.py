"""Names: the one place that derives a Kafka topic, a key or a partition number."""

from topics.admin import TopicState, ensure_topics
from topics.catalog import MAX_INPUT_BYTES, MAX_RECORD_BYTES, TopicSpec, catalog
from topics.names import TABLE_NAME, TopicNames
from topics.partitioner import murmur2, partition_for, session_key, split_key

__all__ = [
    "MAX_INPUT_BYTES",
    "MAX_RECORD_BYTES",
    "TABLE_NAME",
    "TopicNames",
    "TopicSpec",
    "TopicState",
    "catalog",
    "ensure_topics",
    "murmur2",
    "partition_for",
    "session_key",
    "split_key",
]
