"""How a worker tells the world where it answers reads: in the client id that it joins the consumer group with.

Whoever may describe the group sees each member's client id beside its partitions, with any client of Kafka; it is
gone with the member. The member's own metadata would need Faust's format and a deprecated request to be read.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PATTERN: Final = re.compile(r"(?P<worker>.+?)@(?P<url>https?://[^\s@]+)")


class Member(NamedTuple):
    """A worker and where it answers reads."""

    worker: str
    url: str


def member_client_id(worker: str, url: str | None) -> str:
    """Return the client id of a worker; without ``url`` it answers no reads."""
    return worker if url is None else f"{worker}@{url.rstrip('/')}"


def member_of(client_id: str) -> Member | None:
    """Undo :func:`member_client_id`; None for a worker that answers no reads, or for another program's client."""
    found = _PATTERN.fullmatch(client_id)
    return Member(found["worker"], found["url"]) if found else None
