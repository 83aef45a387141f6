"""Creating and verifying topics on a real Kafka."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from infra.ports import free_port
from schemas.errors import BrokerError, TopicMismatchError
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames


def admin_of(kafka: str) -> AdminClient:
    """Return a client that shares nothing with the code under test."""
    return AdminClient({"bootstrap.servers": kafka})


def create(kafka: str, name: str, partitions: int, **config: str) -> None:
    """Create a topic behind the back of ``ensure_topics``."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = admin_of(kafka)
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)


def test_ensure_topics_nothing_there_creates_the_whole_catalog(kafka: str, topic_names: TopicNames) -> None:
    """As Kafka itself tells it: partitions, leaders and every setting."""
    specs = catalog(topic_names, 3)
    states = ensure_topics(kafka, specs)
    assert [state.name for state in states] == list(topic_names.all)
    assert all(state.was_created and not state.differences for state in states)
    admin = admin_of(kafka)
    topics = admin.list_topics(timeout=10).topics
    for spec in specs:
        partitions = topics[spec.name].partitions
        assert len(partitions) == 3
        assert all(partition.leader >= 0 for partition in partitions.values())
        resource = ConfigResource(ResourceType.TOPIC, spec.name)
        config = next(iter(admin.describe_configs([resource]).values())).result(10)
        assert {name: config[name].value for name in spec.kafka_config()} == spec.kafka_config()


def test_ensure_topics_all_there_changes_nothing(kafka: str, topic_names: TopicNames) -> None:
    """A second start finds what the first made."""
    specs = catalog(topic_names, 2)
    ensure_topics(kafka, specs)
    states = ensure_topics(kafka, specs)
    assert not any(state.was_created or state.differences for state in states)


def test_ensure_topics_some_there_creates_the_rest(kafka: str, topic_names: TopicNames) -> None:
    """A start that was cut off is completed by the next."""
    specs = catalog(topic_names, 2)
    ensure_topics(kafka, specs[:2])
    assert [state.was_created for state in ensure_topics(kafka, specs)] == [False, False, True, True, True, True]


def test_ensure_topics_many_at_once_create_each_topic_once(kafka: str, topic_names: TopicNames) -> None:
    """Workers start together; none may fail on the others' topics."""
    specs = catalog(topic_names, 2)
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: ensure_topics(kafka, specs), range(6)))
    assert len(runs) == 6
    for number in range(len(specs)):
        assert sum(states[number].was_created for states in runs) == 1


def test_ensure_topics_other_partition_count_is_refused_with_a_way_out(kafka: str, topic_names: TopicNames) -> None:
    """Sessions would change their partition, and lose their memory."""
    ensure_topics(kafka, catalog(topic_names, 2))
    with pytest.raises(TopicMismatchError, match=r"has 2 partitions, not 4.*set partitions to 2"):
        ensure_topics(kafka, catalog(topic_names, 4))
    assert len(admin_of(kafka).list_topics(timeout=10).topics[topic_names.events].partitions) == 2


def test_ensure_topics_one_topic_differs_names_it_alone(kafka: str, topic_names: TopicNames) -> None:
    """No setting could make these topics fit together."""
    create(kafka, topic_names.tokens, 5)
    with pytest.raises(TopicMismatchError) as caught:
        ensure_topics(kafka, catalog(topic_names, 2))
    assert topic_names.tokens in str(caught.value)
    assert topic_names.events not in str(caught.value)
    assert "set partitions" not in str(caught.value)


@pytest.mark.parametrize(
    ("topic", "policy"), [("changelog", "delete"), ("changelog", "compact,delete"), ("events", "compact")]
)
def test_ensure_topics_policy_that_loses_records_is_refused(
    kafka: str, topic_names: TopicNames, topic: str, policy: str
) -> None:
    """A changelog that forgets idle sessions, a log that keeps one event a session."""
    name = getattr(topic_names, topic)
    create(kafka, name, 2, cleanup_policy=policy)
    with pytest.raises(TopicMismatchError, match=rf"cleanup\.policy={policy}.*kafka-configs"):
        ensure_topics(kafka, catalog(topic_names, 2))


def test_ensure_topics_other_retention_is_reported_not_refused(kafka: str, topic_names: TopicNames) -> None:
    """An operator may keep tokens for an hour only."""
    create(kafka, topic_names.tokens, 2, retention_ms="3600000")
    states = {state.name: state for state in ensure_topics(kafka, catalog(topic_names, 2))}
    assert states[topic_names.tokens].differences["retention.ms"] == ("86400000", "3600000")
    assert not states[topic_names.tokens].was_created


def test_ensure_topics_publishers_clock_is_reported_and_not_believed(kafka: str, topic_names: TopicNames) -> None:
    """A topic that somebody made before; and one of ours: whatever a client says, the broker's clock counts."""
    create(kafka, topic_names.messages, 1)
    messages, control, *_ = ensure_topics(kafka, catalog(topic_names, 1))
    assert messages.differences["message.timestamp.type"] == ("LogAppendTime", "CreateTime")
    assert not control.differences
    stamps = {}
    producer = Producer({"bootstrap.servers": kafka})
    for name in (messages.name, control.name):
        producer.produce(
            name,
            b"x",
            timestamp=1_000_000,
            on_delivery=lambda _, record: stamps.update({record.topic(): record.timestamp()}),
        )
    assert producer.flush(20) == 0
    assert stamps[messages.name] == (TIMESTAMP_CREATE_TIME, 1_000_000)
    kind, at_ms = stamps[control.name]
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert abs(at_ms - time.time() * 1000) < 3_600_000


def test_ensure_topics_no_broker_there_says_so_in_time() -> None:
    """Nobody listens on that port."""
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1.*is it running"):
        ensure_topics(f"127.0.0.1:{free_port()}", catalog(TopicNames("p")), timeout_s=1)


def test_ensure_topics_impossible_replication_is_the_brokers_reason(kafka: str, topic_names: TopicNames) -> None:
    """The broker's own words reach the operator."""
    specs = [replace(spec, replication_factor=50) for spec in catalog(topic_names, 1)]
    with pytest.raises(BrokerError, match=r"(?i)replication"):
        ensure_topics(kafka, specs)
