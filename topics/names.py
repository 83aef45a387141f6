"""The names of a deployment's topics, all derived from one prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.errors import SettingsError

TABLE_NAME = "sessions"
"""The one Faust table; its changelog's name derives from it."""

READERS_GROUP = "barnabas-readers"
"""librdkafka wants a group's name of every consumer, and asks who coordinates it; readers by assignment join none."""

# Kafka allows 249 characters (org.apache.kafka.common.internals.Topic); the longest suffix here is 19.
_LEGAL_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Every Kafka name of the deployment that ``prefix`` stands for.

    Two deployments with different prefixes share a cluster without meeting.

    Args:
        prefix: 1 to 200 of the characters Kafka allows: letters, digits, ``.``, ``_`` and ``-``.

    Raises:
        SettingsError: Kafka would refuse names with this prefix.
    """

    prefix: str = "barnabas"

    def __post_init__(self) -> None:
        if not _LEGAL_PREFIX.fullmatch(self.prefix) or self.prefix in {".", ".."}:
            message = (
                f"prefix: {self.prefix!r} cannot begin a topic name; "
                "use 1 to 200 letters, digits, dots, underscores or hyphens"
            )
            raise SettingsError(message)

    @property
    def messages(self) -> str:
        """What users publish."""
        return f"{self.prefix}.messages"

    @property
    def control(self) -> str:
        """Cancel, approve, deny."""
        return f"{self.prefix}.control"

    @property
    def events(self) -> str:
        """The log: every decision, in order."""
        return f"{self.prefix}.events"

    @property
    def tokens(self) -> str:
        """What readers subscribe to."""
        return f"{self.prefix}.tokens"

    @property
    def dead_letters(self) -> str:
        """What could not become a turn, with cause, original bytes and position."""
        return f"{self.prefix}.dead-letters"

    @property
    def app_id(self) -> str:
        """The id of the ``faust.App``."""
        return self.prefix

    @property
    def group_id(self) -> str:
        """The consumer group; Faust takes the app's id."""
        return self.prefix

    @property
    def changelog(self) -> str:
        """The session table's changelog: Faust's ``{app_id}-{table name}-changelog``."""
        return f"{self.app_id}-{TABLE_NAME}-changelog"

    def role(self, topic: str) -> str:
        """What a topic of this deployment is for, such as ``messages``; its name where it is not ours."""
        return topic.removeprefix(f"{self.prefix}.")

    @property
    def all(self) -> tuple[str, ...]:
        """The six topics, in the order of the flow."""
        return (self.messages, self.control, self.events, self.tokens, self.dead_letters, self.changelog)
