"""Reads of sessions as they are: from the worker that owns them, else from the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

from barnabas.connection import Connection
from barnabas.dead_letters import DeadLetterLog
from barnabas.gateway.freshness import Freshness
from barnabas.gateway.letter_pages import LetterPages
from barnabas.gateway.log_reads import LogReads
from barnabas.gateway.owner_client import OwnerClient, Unserved
from barnabas.gateway.owners import Owners, ask_group
from schemas.errors import SessionUnavailableError
from schemas.session import Session
from streams.options import ReadOptions
from streams.reading.views import ListAnswer, Selection, SessionSummary, WorkerFigures
from topics.members import Member

#: How often an owner is looked for before the log is asked: a rebalance moves a partition once.
_TRIES: Final = 2

#: Pages of the workers that one page may take: filters may leave little of each.
_ROUNDS: Final = 4


class Part(NamedTuple):
    """What some partitions gave: sessions, keys ascending, and the key up to which they were looked through."""

    sessions: Sequence[SessionSummary]
    reached: str | None


class SessionPage(NamedTuple):
    """Sessions of all partitions, keys ascending; ``following`` is the key behind which the next page begins."""

    sessions: list[SessionSummary]
    following: str | None
    freshness: list[Freshness]


def merge(parts: Iterable[Part], limit: int) -> Part:
    """Return the first sessions of all parts, no further than every one of them was looked through."""
    given = [*parts]
    bounds = [part.reached for part in given if part.reached is not None]
    reached = min(bounds) if bounds else None
    sessions = sorted(
        (session for part in given for session in part.sessions if reached is None or session.session_id <= reached),
        key=lambda session: session.session_id,
    )
    if len(sessions) > limit:
        return Part(sessions[:limit], sessions[limit - 1].session_id)
    return Part(sessions, reached)


class Reads:
    """One for the gateway; make it with :meth:`open`."""

    def __init__(
        self,
        connection: Connection,
        owners: Owners,
        workers: OwnerClient,
        log: LogReads,
        *,
        letters: LetterPages,
        sources: Counter[str],
    ) -> None:
        self._connection = connection
        self._sources = sources
        self._owners = owners
        self._workers = workers
        self.log = log
        self.letters = letters

    @classmethod
    def open(cls, connection: Connection, options: ReadOptions, sources: Counter[str]) -> Self:
        """Make it, on the event loop; connects when it is used. ``sources`` counts what answered."""
        names = connection.names
        return cls(
            connection,
            Owners(ask_group(connection.client_config, names.group_id, names.messages)),
            OwnerClient(options, names.prefix),
            LogReads(connection),
            letters=LetterPages(_letters(connection)),
            sources=sources,
        )

    @property
    def partitions(self) -> int:
        """How many the deployment has."""
        return self._connection.partitions

    async def close(self) -> None:
        """Release the connections."""
        self.letters.close()
        await self._owners.close()
        await self._workers.close()
        await self.log.close()

    async def session(self, key: bytes) -> tuple[Session | None, Freshness]:
        """Return a session as it is, None where there is none; raises as :class:`LogReads`."""
        partition = self._connection.partition_of(key)
        for _ in range(_TRIES):
            member = await self._owners.of(partition)
            if member is None:
                break
            answer = await self._workers.session(member, key)
            if not isinstance(answer, Unserved):
                self._sources["owner"] += 1
                return answer.session, Freshness.of_owner(answer.standing)
            if not self._is_worth_another(answer, member, partition):
                break
        self._sources["log"] += 1
        return await self.log.session(key)

    async def sessions(self, selection: Selection, *, after: str, limit: int) -> SessionPage:
        """Return sessions behind the key ``after``; raises as :class:`LogReads`.

        Fewer than ``limit`` may come although there are more: a page is not read for ever.
        """
        sessions: list[SessionSummary] = []
        freshness: list[Freshness] = []
        following: str | None = after
        for _ in range(_ROUNDS):
            parts, freshness = await self._round(selection, after=following or "", limit=limit)
            page = merge(parts, limit - len(sessions))
            sessions += page.sessions
            following = page.reached
            if following is None or len(sessions) >= limit:
                break
        return SessionPage(sessions, following, freshness)

    async def figures(self, window_s: int) -> tuple[list[WorkerFigures], list[str]]:
        """Return the figures of every worker that owns something, and the names of those that did not answer."""
        members = await self._owners.all()
        answers = await asyncio.gather(*(self._workers.figures(member, window_s) for member in members))
        figures = [answer for answer in answers if not isinstance(answer, Unserved)]
        silent = [
            member.worker for member, answer in zip(members, answers, strict=True) if isinstance(answer, Unserved)
        ]
        return figures, silent

    async def _round(self, selection: Selection, *, after: str, limit: int) -> tuple[list[Part], list[Freshness]]:
        """Ask every partition's owner, and the log where none answers."""
        left = set(range(self._connection.partitions))
        parts: list[Part] = []
        freshness: list[Freshness] = []
        for _ in range(_TRIES):
            groups: dict[Member, list[int]] = {}
            for partition in sorted(left):
                member = await self._owners.of(partition)
                if member is not None:
                    groups.setdefault(member, []).append(partition)
            if not groups:
                break
            answers = await asyncio.gather(
                *(
                    self._workers.sessions(member, partitions, selection, after=after, limit=limit)
                    for member, partitions in groups.items()
                )
            )
            is_over = True
            for (member, partitions), answer in zip(groups.items(), answers, strict=True):
                if isinstance(answer, ListAnswer):
                    left -= {standing.partition for standing in answer.standings}
                    parts.append(Part(answer.sessions, answer.reached))
                    freshness += map(Freshness.of_owner, answer.standings)
                    refused, why = answer.refused, Unserved.WRONG
                else:
                    refused, why = partitions, answer
                for partition in refused:
                    is_over = not self._is_worth_another(why, member, partition) and is_over
            if is_over:
                break
        found = await asyncio.gather(
            *(self.log.sessions(number, selection, after=after.encode(), limit=limit) for number in sorted(left))
        )
        for summaries, reached, how in found:
            parts.append(Part(summaries, None if reached is None else reached.decode()))
            freshness.append(how)
        self._sources.update(one.source for one in freshness)
        return parts, sorted(freshness, key=lambda one: one.partition)

    def _is_worth_another(self, answer: Unserved, member: Member, partition: int) -> bool:
        """Note what a worker's silence means; whether its partition may have another owner by now.

        Raises:
            SessionUnavailableError: The owner is alive and has no time: the log would take longer, and more of it.
        """
        if answer is Unserved.BUSY:
            raise SessionUnavailableError("the worker that owns this is busy; try again", retry_after=1.0)
        if answer is Unserved.WRONG:
            self._owners.wrong(partition, member)
        elif answer is Unserved.DOWN:
            self._owners.down(member)
        return answer is not Unserved.NOT_NOW


def _letters(of: Connection) -> DeadLetterLog:
    """Return the deployment's dead letters; a few of each partition are read at once, and no more are fetched ahead."""
    config = {**of.client_config, "queued.max.messages.kbytes": 1024, "fetch.message.max.bytes": 256 * 1024}
    return DeadLetterLog(of.servers, of.names, of.codec, partitions=of.partitions, client_config=config)
