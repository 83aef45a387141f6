"""Sessions of several partitions in one order, read in small steps and never all at once."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Final, NamedTuple

from schemas.session import Session
from streams.reading.views import Selection, SessionSummary, summary_of

#: Sessions read and decoded in one step: some 0.05 ms each, on the event loop that carries tokens.
STEP: Final = 16

#: ``(after, count)``: up to ``count`` sessions behind the key ``after``, ascending, of keys with the selection's
#: prefix; fewer only where there are no more. None: the partition went away, and counts no longer.
Scan = Callable[[bytes, int], list[tuple[bytes, Session]] | None]


class Listed(NamedTuple):
    """A page.

    Attributes:
        sessions: With each one's partition, keys ascending.
        reached: The key up to which every partition was looked through; None: to their ends.
        lost: Partitions that went away meanwhile; no session of theirs is among the others.
    """

    sessions: list[tuple[int, SessionSummary]]
    reached: bytes | None
    lost: set[int]


def listing(
    scans: Mapping[int, Scan], selection: Selection, *, after: bytes, limit: int, budget: int, step: int = STEP
) -> Generator[None, None, Listed]:
    """Merge partitions by key; yields after each step, so that its caller may let others run.

    Args:
        scans: Reads a partition, by number.
        selection: Which sessions are wanted.
        after: The last key of the page before; empty to begin.
        limit: The most that are returned.
        budget: The most that are looked at beyond the first step: a page ends there, whatever it holds.
        step: Sessions read at once.
    """
    ahead: dict[int, deque[tuple[bytes, Session]]] = {}
    heap: list[tuple[bytes, int]] = []
    lost: set[int] = set()

    def read(partition: int, behind: bytes) -> None:
        found = scans[partition](behind, step)
        if found is None:
            lost.add(partition)
        elif found:
            ahead[partition] = deque(found)
            heapq.heappush(heap, (found[0][0], partition))

    for partition in sorted(scans):
        read(partition, after)
        yield
    sessions: list[tuple[int, SessionSummary]] = []
    reached = after
    looked_at = 0
    while heap and len(sessions) < limit and looked_at < budget:
        reached, partition = heapq.heappop(heap)
        if partition in lost:
            continue
        _, session = ahead[partition].popleft()
        looked_at += 1
        summary = summary_of(session)
        if selection.takes(summary):
            sessions.append((partition, summary))
        if ahead[partition]:
            heapq.heappush(heap, (ahead[partition][0][0], partition))
        else:
            read(partition, reached)
            yield
    kept = [(partition, summary) for partition, summary in sessions if partition not in lost]
    return Listed(kept, reached if heap else None, lost)
