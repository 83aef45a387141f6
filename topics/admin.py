"""Creates the topics that are missing and verifies those that exist."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas.errors import BrokerError, TopicMismatchError
from topics.access import reach, refusal
from topics.catalog import TopicSpec

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """A topic as it was found or made.

    Args:
        name: The topic.
        was_created: Whether this call made it.
        partitions: Number of partitions, each with a leader.
        replication_factor: Copies of its first partition.
        differences: Settings that differ from the catalog without breaking a guarantee: name to (wanted, found).
    """

    name: str
    was_created: bool
    partitions: int
    replication_factor: int
    differences: Mapping[str, tuple[str, str]]


def ensure_topics(
    bootstrap_servers: str,
    specs: Sequence[TopicSpec],
    *,
    client_config: Mapping[str, Any] | None = None,
    timeout_s: float = 30.0,
) -> list[TopicState]:
    """Create what is missing, verify what exists, and wait until every partition has a leader.

    Nothing that exists is changed. Several processes may call this at once. Blocks up to ``timeout_s`` seconds.

    Args:
        bootstrap_servers: ``host:port[,host:port]``.
        specs: The catalog.
        client_config: Further librdkafka settings (security).
        timeout_s: For everything together, in seconds.

    Returns:
        One state for each spec, in the same order.

    Raises:
        TopicMismatchError: A topic has another number of partitions, or a cleanup policy that loses sessions or
            events. The others are created all the same.
        AccessError: Kafka refused this client, or the right to make or look at a topic.
        BrokerError: No broker answered, it refused, or partitions stayed without a leader.
    """
    deadline = time.monotonic() + timeout_s
    admin, found = reach(bootstrap_servers, client_config or {}, timeout_s=timeout_s)
    try:
        created = _create(admin, specs, found.topics, deadline)
        metadata = _wait_for_leaders(admin, specs, deadline)
        _verify_partitions(specs, metadata)
        configs = _describe(admin, specs, deadline)
    except KafkaException as error:
        cause = error.args[0]
        if (refused := refusal(cause, bootstrap_servers)) is not None:
            raise refused from error
        message = (
            f"Kafka at {bootstrap_servers} failed or did not answer within {timeout_s:g} s ({cause.str()}); "
            "is it running?"
        )
        raise BrokerError(message) from error
    for spec in specs:
        _verify_policy(spec, configs[spec.name])
    return [
        TopicState(
            name=spec.name,
            was_created=spec.name in created,
            partitions=len(metadata[spec.name].partitions),
            replication_factor=len(metadata[spec.name].partitions[0].replicas),
            differences=_differences(spec, configs[spec.name]),
        )
        for spec in specs
    ]


def _create(admin: AdminClient, specs: Sequence[TopicSpec], existing: Collection[str], deadline: float) -> set[str]:
    """Create the missing topics; return the names this call created."""
    missing = [
        NewTopic(spec.name, spec.partitions, spec.replication_factor, config=spec.kafka_config())
        for spec in specs
        if spec.name not in existing
    ]
    if not missing:
        return set()
    created = set()
    left = _left(deadline)
    for name, future in admin.create_topics(missing, operation_timeout=left, request_timeout=left).items():
        try:
            future.result()
            created.add(name)
        except KafkaException as error:
            # Somebody else was quicker: verified like any topic that exists.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created


def _wait_for_leaders(admin: AdminClient, specs: Sequence[TopicSpec], deadline: float) -> dict[str, Any]:
    """Return the topics' metadata once each partition has a leader."""
    while True:
        topics = admin.list_topics(timeout=_left(deadline)).topics
        waiting = [
            spec.name
            for spec in specs
            if spec.name not in topics
            or not topics[spec.name].partitions
            or any(partition.leader < 0 for partition in topics[spec.name].partitions.values())
        ]
        if not waiting:
            return {spec.name: topics[spec.name] for spec in specs}
        if time.monotonic() > deadline:
            raise BrokerError(f"no leader for a partition of {', '.join(waiting)}; look at the brokers' logs")
        time.sleep(_POLL_S)


def _verify_partitions(specs: Sequence[TopicSpec], metadata: Mapping[str, Any]) -> None:
    wrong = [(spec, len(metadata[spec.name].partitions)) for spec in specs]
    wrong = [(spec, found) for spec, found in wrong if found != spec.partitions]
    if not wrong:
        return
    found = "; ".join(f"{spec.name} has {found} partitions, not {spec.partitions}" for spec, found in wrong)
    counts = {found for _, found in wrong}
    way = f"set partitions to {counts.pop()}, " if len(counts) == 1 and len(wrong) == len(specs) else ""
    message = (
        f"{found}. A session's partition follows from this number, and it is fixed for a deployment: "
        f"{way}use another prefix, or migrate into new topics"
    )
    raise TopicMismatchError(message)


def _describe(admin: AdminClient, specs: Sequence[TopicSpec], deadline: float) -> dict[str, dict[str, str]]:
    """Return each topic's settings as they are in force."""
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    futures = admin.describe_configs(resources, request_timeout=_left(deadline))
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in futures.items()
    }


def _verify_policy(spec: TopicSpec, config: Mapping[str, str]) -> None:
    found = config["cleanup.policy"]
    if spec.is_policy_binding and found != spec.cleanup_policy:
        message = (
            f"{spec.name} has cleanup.policy={found}, which loses records that must stay; put it right with: "
            f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
            f"--add-config cleanup.policy={spec.cleanup_policy}"
        )
        raise TopicMismatchError(message)


def _differences(spec: TopicSpec, config: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name: (wanted, config.get(name, "unset"))
        for name, wanted in spec.kafka_config().items()
        if config.get(name) != wanted
    }


def _left(deadline: float) -> float:
    """Return the seconds left; never less than a tenth, so that the last call may still answer."""
    return max(0.1, deadline - time.monotonic())
