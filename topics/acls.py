"""What each component has to be allowed in Kafka, and nothing more."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from schemas.errors import BrokerError
from topics.access import refusal
from topics.names import READERS_GROUP, TopicNames

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Resource = Literal["topic", "group"]

#: Each of these is a right to ``Describe`` as well.
IMPLY_DESCRIBE: Final[frozenset[Operation]] = frozenset({"Read", "Write"})

_ENUM_NAMES: Final = {"DescribeConfigs": "DESCRIBE_CONFIGS"}
_APPLY_S: Final = 30.0


class Component(StrEnum):
    """Who connects to Kafka, each best as a user of its own.

    Attributes:
        WORKER: ``barnabas worker``, where the topics were made by another user; else it needs ``topics`` as well.
        GATEWAY: ``barnabas gateway``: it publishes, and reads tokens, events and dead letters.
        CLIENT: A client that sends and reads answers: ``barnabas.Client``, ``chat``, ``send``.
        PUBLISHER: A client that sends, cancels and erases, and reads no answers.
        SUBSCRIBER: A client that reads answers and sends nothing; ``tail``.
        READER: ``events``, ``sessions``, ``transcript``, ``replay``, ``dead-letters list``, and their like in Python.
        DOCTOR: ``doctor``.
        REBUILD: What ``doctor --rebuild`` needs beyond ``doctor``.
        RETRY: What ``dead-letters retry`` and ``drop`` need beyond ``reader``.
        TOPICS: ``barnabas topics``, which makes and verifies the topics.
    """

    WORKER = "worker"
    GATEWAY = "gateway"
    CLIENT = "client"
    PUBLISHER = "publisher"
    SUBSCRIBER = "subscriber"
    READER = "reader"
    DOCTOR = "doctor"
    REBUILD = "rebuild"
    RETRY = "retry"
    TOPICS = "topics"


@dataclass(frozen=True, slots=True)
class Grant:
    """Some operations on one topic or group.

    Attributes:
        resource: ``topic`` or ``group``.
        name: Its name, literally.
        operations: By Kafka's names; what they imply is left out.
    """

    resource: Resource
    name: str
    operations: tuple[Operation, ...]


def grants(component: Component, names: TopicNames) -> tuple[Grant, ...]:
    """Return what a component needs in the deployment of these names."""
    return _GRANTS[component](names)


def _topics(**operations: str) -> Callable[[TopicNames], tuple[Grant, ...]]:
    """Return the grants on topics by their fields' names; operations are joined by blanks."""

    def of(names: TopicNames) -> tuple[Grant, ...]:
        return tuple(Grant("topic", getattr(names, field), _operations(text)) for field, text in operations.items())

    return of


def _operations(text: str) -> tuple[Operation, ...]:
    known: dict[str, Operation] = {
        operation: operation for operation in ("Read", "Write", "Create", "Describe", "DescribeConfigs")
    }
    return tuple(known[word] for word in text.split())


_READERS: Final = Grant("group", READERS_GROUP, ("Describe",))


def _reading(**operations: str) -> Callable[[TopicNames], tuple[Grant, ...]]:
    """Return the grants of somebody who reads by assignment, without a group of his own."""
    own = _topics(**operations)
    return lambda names: (*own(names), _READERS)


def _worker(names: TopicNames) -> tuple[Grant, ...]:
    own = _topics(
        # Written too: what a client put on the wrong partition is moved to its own.
        messages="Read Write DescribeConfigs",
        control="Read Write DescribeConfigs",
        events="Read Write DescribeConfigs",
        tokens="Write DescribeConfigs",
        dead_letters="Write DescribeConfigs",
        changelog="Read Write DescribeConfigs",
    )
    return (*own(names), Grant("group", names.group_id, ("Read",)), _READERS)


def _gateway(names: TopicNames) -> tuple[Grant, ...]:
    own = _reading(messages="Write", control="Write", events="Read", tokens="Read", dead_letters="Read")
    # Members tell the group where they answer reads.
    return (*own(names), Grant("group", names.group_id, ("Describe",)))


def _doctor(names: TopicNames) -> tuple[Grant, ...]:
    own = _topics(
        messages="Read", control="Describe", events="Read", tokens="Describe", dead_letters="Read", changelog="Read"
    )
    return (*own(names), Grant("group", names.group_id, ("Describe",)))


_ALL_TOPICS: Final = ("messages", "control", "events", "tokens", "dead_letters", "changelog")

# Clients look at messages, control, events and tokens before anything else: whether there is a deployment, and whether
# its numbers of partitions agree.
_GRANTS: Final[dict[Component, Callable[[TopicNames], tuple[Grant, ...]]]] = {
    Component.WORKER: _worker,
    Component.GATEWAY: _gateway,
    Component.CLIENT: _reading(messages="Write", control="Write", events="Describe", tokens="Read"),
    Component.PUBLISHER: _topics(messages="Write", control="Write", events="Describe", tokens="Describe"),
    Component.SUBSCRIBER: _reading(messages="Describe", control="Describe", events="Describe", tokens="Read"),
    Component.READER: _reading(
        messages="Describe", control="Describe", events="Read", tokens="Describe", dead_letters="Read"
    ),
    Component.DOCTOR: _doctor,
    Component.REBUILD: _topics(changelog="Write"),
    Component.RETRY: _topics(messages="Write", control="Write", dead_letters="Write"),
    Component.TOPICS: _topics(**dict.fromkeys(_ALL_TOPICS, "Create Describe DescribeConfigs")),
}


def command_line(grant: Grant, principal: str, servers: str) -> str:
    """Return the line of Kafka's own tool that makes a grant; ``admin.properties`` is whoever may."""
    words = ["kafka-acls.sh", "--bootstrap-server", servers, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", principal]
    for operation in grant.operations:
        words += ["--operation", operation]
    return shlex.join([*words, f"--{grant.resource}", grant.name])


def bindings(given: Collection[Grant], principal: str) -> list[AclBinding]:
    """Return grants as Kafka's administrative client has them, from any host."""
    return [
        AclBinding(
            ResourceType[grant.resource.upper()],
            grant.name,
            ResourcePatternType.LITERAL,
            principal,
            "*",
            AclOperation[_ENUM_NAMES.get(operation, operation.upper())],
            AclPermissionType.ALLOW,
        )
        for grant in given
        for operation in grant.operations
    ]


def apply(admin: AdminClient, acls: Sequence[AclBinding], servers: str) -> None:
    """Have Kafka make the grants; those that are there already stay. Blocks up to 30 s.

    Args:
        admin: A client of a user that may alter the cluster.
        acls: From :func:`bindings`.
        servers: Its address, for an error's text.

    Raises:
        AccessError: The user may not.
        BrokerError: The broker has no ACLs, or did not answer.
    """
    for future in admin.create_acls(list(acls), request_timeout=_APPLY_S).values():
        try:
            future.result()
        except KafkaException as error:
            if (refused := refusal(error.args[0], servers)) is not None:
                raise refused from error
            raise BrokerError(f"Kafka at {servers} made no grant ({error.args[0].str()}); has it ACLs?") from error
