"""What the commands on dead letters ask for alike, and what it selects."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from barnabas.commands import context

if TYPE_CHECKING:
    from barnabas.dead_letters import DeadLetterLog, PlacedLetter, Selection

PartitionOption = Annotated[int | None, typer.Option(min=0, help="Of the dead-letters topic.")]
CauseOption = Annotated[str | None, typer.Option(help="The error code, such as unknown_agent.")]
SinceOption = Annotated[str | None, typer.Option(help="A duration (90s, 15m, 24h, 7d) or a time (2026-01-31T12:00).")]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def letter_log() -> DeadLetterLog:
    """Return the deployment's dead letters; raises ``BrokerError`` and ``SettingsError``."""
    from barnabas.connection import connect
    from barnabas.dead_letters import DeadLetterLog

    settings = context.settings()
    found = connect(settings)
    return DeadLetterLog(
        found.servers, found.names, found.codec, partitions=found.partitions, client_config=settings.kafka
    )


def selection(
    *,
    partition: int | None = None,
    cause: str | None = None,
    session: str | None = None,
    tenant: str | None = None,
    since: str | None = None,
    with_resolved: bool = False,
) -> Selection:
    """Return what the options select; raises ``SettingsError`` for an impossible ``--since``."""
    from barnabas.dead_letters import Selection
    from topics.partitioner import session_key

    return Selection(
        partition=partition,
        cause=cause,
        key=None if session is None else session_key(session, tenant),
        since_ms=None if since is None else since_ms(since, now=time.time()),
        with_resolved=with_resolved,
    )


def since_ms(text: str, *, now: float) -> int:
    """Return the beginning of a period as Unix time in milliseconds.

    Args:
        text: A duration before ``now``, such as ``24h``, or an ISO 8601 time, local where it names no zone.
        now: Unix time in seconds.

    Raises:
        SettingsError: It is neither.
    """
    from schemas.errors import SettingsError

    if duration := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return int((now - int(duration[1]) * _SECONDS[duration[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingsError(f"--since: {text!r} is neither a duration such as 24h nor a time") from error


def placed_at(log: DeadLetterLog, texts: Collection[str]) -> list[PlacedLetter]:
    """Return the dead letters at these positions, resolved ones too; raises ``SettingsError`` where there is none."""
    from barnabas.dead_letters import Position, Selection
    from schemas.errors import SettingsError

    positions = frozenset(Position.parse(text) for text in texts)
    found = {placed.position: placed for placed in log.read(Selection(positions=positions, with_resolved=True))}
    missing = sorted(positions - found.keys())
    if missing:
        places = ", ".join(map(str, missing))
        raise SettingsError(f"there is no dead letter at {places}; barnabas dead-letters list shows them")
    return list(found.values())
