"""The watchdog: a worker that makes no progress ends, instead of holding its partitions with good heartbeats (F10)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from faust.types import TP

from streams.environment import Environment
from streams.ownership import Ownership
from streams.partition import Phase


class Finding(NamedTuple):
    """Something that stands still.

    Attributes:
        what: In words.
        stood_s: For how long, in seconds.
        bound_s: Longer than this is not healthy.
        end_s: Longer than this is stuck.
    """

    what: str
    stood_s: float
    bound_s: float
    end_s: float

    @property
    def is_late(self) -> bool:
        """Whether it should have moved by now."""
        return self.stood_s > self.bound_s

    @property
    def is_stuck(self) -> bool:
        """Whether it never will."""
        return self.stood_s > self.end_s

    def __str__(self) -> str:
        return f"{self.what} for {self.stood_s:.0f} s"


class Watchdog:
    """Looks for what should have moved and did not; asked once a second or more often."""

    def __init__(
        self,
        env: Environment,
        ownership: Ownership,
        *,
        slack_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the collaborators; ``slack_s`` is added to every bound."""
        self._env = env
        self._ownership = ownership
        self._slack = slack_s
        self._clock = clock
        #: What is waited for, and since when it has stood as it stands.
        self._since: dict[object, tuple[object, float]] = {}
        #: What stood still at the last look; read by other threads.
        self.findings: tuple[Finding, ...] = ()

    def stuck(self) -> str | None:
        """Look; return what is stuck, None while all is well."""
        return next((str(finding) for finding in self.look() if finding.is_stuck), None)

    def look(self) -> tuple[Finding, ...]:
        """Return what stands still.

        Nothing can move without the broker: while heartbeats fail, no time counts.
        """
        if self._env.lease.is_over:
            self._since.clear()
            self.findings = ()
        elif not self._ownership.is_settled:
            self._since.pop("poll", None)  # nothing is fetched meanwhile
            bound_s = self._env.limits.recovery_timeout_s
            self.findings = (self._standing("recovery", self._ownership.generation, bound_s, "recovery has not ended"),)
        else:
            self._since.pop("recovery", None)
            self.findings = (*self._poll(), *self._partitions())
        return self.findings

    def _poll(self) -> list[Finding]:
        if not self._ownership.owned:
            return []
        polls = self._ownership.consumer.polls
        return [self._standing("poll", polls, 0.0, "the consumer no longer polls", late_s=self._slack / 2)]

    def _partitions(self) -> list[Finding]:
        partitions, cursors = self._ownership.partitions, self._ownership.consumer.cursors
        turn_s = self._env.limits.turn_timeout_s
        found = []
        for number, partition in partitions.items():
            cursor = cursors.get(TP(self._env.names.messages, number))
            waits = partition.phase is not Phase.OPEN or (cursor is not None and cursor.acks.pending > 0)
            if partition.phase is Phase.STOPPED or not waits:
                self._since.pop(number, None)
                continue
            # The oldest message is the first of its lane: it is done within a turn's bound, or waits for a slot while
            # others are let in. A partition that is opened again and again without it is stuck as well; one that
            # folds its past, not open yet, is not.
            watermark = cursor.acks.watermark if cursor is not None else -1
            events = cursors.get(TP(self._env.names.events, number))
            folded = events.handled if events is not None and partition.epoch < 0 else -1
            slot = partition.waiting_for_slot.get(watermark)
            what = f"partition {number} stands at {watermark}"
            state = watermark, folded, slot.progress if slot is not None else None
            found.append(self._standing(number, state, turn_s, what))
        for gone in [name for name in self._since if isinstance(name, int) and name not in partitions]:
            del self._since[gone]
        return found

    def _standing(
        self, name: object, state: object, bound_s: float, what: str, *, late_s: float | None = None
    ) -> Finding:
        now = self._clock()
        known = self._since.get(name)
        if known is None or known[0] != state:
            known = self._since[name] = (state, now)
        return Finding(what, now - known[1], bound_s if late_s is None else late_s, bound_s + self._slack)
