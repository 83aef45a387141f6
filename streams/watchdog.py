"""The watchdog: a worker that makes no progress ends, instead of holding its partitions with good heartbeats (F10)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from faust.types import TP

from streams.delivery import Cursor
from streams.environment import Environment
from streams.ownership import Ownership
from streams.partition import Partition, Phase
from streams.producer import DELIVERY_TIMEOUT_S


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


@dataclass(slots=True)
class _Stand:
    """How something stands, since when, and whether a record that is begun waits for it."""

    state: object
    since: float
    holds_record: bool = False


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
        self._stands: dict[object, _Stand] = {}
        self._now = clock()
        #: What stood still at the last look; read by other threads.
        self.findings: tuple[Finding, ...] = ()

    def stuck(self) -> str | None:
        """Look; return what is stuck, None while all is well."""
        return next((str(finding) for finding in self.look() if finding.is_stuck), None)

    def look(self) -> tuple[Finding, ...]:
        """Return what stands still.

        Nothing can move without the broker: while heartbeats fail, no time counts. Nothing is fetched during a
        recovery: what stood before it stands on afterwards, and that time does not count.
        """
        before, self._now = self._now, self._clock()
        if self._env.lease.is_over:
            self._stands.clear()
            self.findings = ()
        elif not self._ownership.is_settled:
            for name, stand in self._stands.items():
                if name != "recovery":
                    stand.since += self._now - before
            bound_s = self._env.limits.recovery_timeout_s
            what = "recovery has not ended"
            self.findings = (
                self._standing(
                    "recovery", self._ownership.generation, what, bound_s + self._slack / 2, bound_s + self._slack
                ),
            )
        else:
            self._stands.pop("recovery", None)
            self.findings = (*self._poll(), *self._partitions(self._now - before))
        return self.findings

    def _poll(self) -> list[Finding]:
        if not self._ownership.owned:
            return []
        polls = self._ownership.consumer.polls
        return [self._standing("poll", polls, "the consumer no longer polls", self._slack / 2, self._slack)]

    def _partitions(self, passed_s: float) -> list[Finding]:
        partitions = {n: p for n, p in self._ownership.partitions.items() if p.phase is not Phase.STOPPED}
        for gone in [name for name in self._stands if isinstance(name, TP) and name.partition not in partitions]:
            del self._stands[gone]
        return [finding for partition in partitions.values() for finding in self._partition(partition, passed_s)]

    def _partition(self, partition: Partition, passed_s: float) -> Iterator[Finding]:
        names, cursors, number = self._env.names, self._ownership.consumer.cursors, partition.number
        tps = [TP(topic, number) for topic in (names.messages, names.control, names.events)]
        messages, control, events = (cursors.get(tp) for tp in tps)
        turn_s = self._env.limits.turn_timeout_s
        # The oldest message is the first of its lane: it is done within its turn's bound, or waits for a slot while
        # others are let in. A partition that is opened again and again without it is stuck as well; one that
        # folds its past, not open yet, is not.
        watermark = messages.acks.watermark if messages is not None else -1
        folded = events.handled if events is not None and partition.epoch < 0 else -1
        slot = partition.waiting_for_slot.get(watermark)
        own_s = partition.deadlines.get(watermark, turn_s)
        yield from self._oldest(
            tps[0],
            messages,
            (folded, slot.progress if slot is not None else None),
            f"partition {number} stands at",
            late_s=own_s,
            # Whether a turn's records are in the log is unknown until then, and nothing hangs.
            stuck_s=max(own_s, min(turn_s, DELIVERY_TIMEOUT_S)),
            is_closed=partition.phase is not Phase.OPEN,
            passed_s=passed_s,
        )
        # A cancel ends its turn, or waits for a message that has not come, for a turn's longest time in each epoch.
        yield from self._oldest(
            tps[1],
            control,
            (folded, partition.epoch),
            f"partition {number}: control stands at",
            late_s=turn_s,
            stuck_s=turn_s,
            passed_s=passed_s,
        )
        # A folded event waits for the changelog alone; while deliveries fail and are tried again, for the broker.
        yield from self._oldest(
            tps[2],
            events,
            self._env.write_path.failed,
            f"partition {number}: events stand at",
            late_s=max(turn_s, DELIVERY_TIMEOUT_S),
            stuck_s=max(turn_s, DELIVERY_TIMEOUT_S),
            passed_s=passed_s,
        )

    def _oldest(
        self,
        tp: TP,
        cursor: Cursor | None,
        progress: object,
        what: str,
        *,
        late_s: float,
        stuck_s: float,
        passed_s: float,
        is_closed: bool = False,
    ) -> Iterator[Finding]:
        """Yield how long the oldest record that is begun has stood; a closed partition stands without one, too.

        Half of the slack is for what follows the bound: a turn that is ended has to be recorded.
        """
        watermark = cursor.acks.watermark if cursor is not None else -1
        is_begun = cursor is not None and cursor.acks.pending > 0
        state, stand = (watermark, progress), self._stands.get(tp)
        if not is_begun and not is_closed:
            if stand is not None:
                stand.since += passed_s  # given back when its epoch ended, and not fetched again yet
            return
        if is_begun and stand is not None and not stand.holds_record:
            del self._stands[tp]  # the clock begins with the record
        yield self._standing(tp, state, f"{what} {watermark}", late_s + self._slack / 2, stuck_s + self._slack)
        self._stands[tp].holds_record |= is_begun

    def _standing(self, name: object, state: object, what: str, late_s: float, stuck_s: float) -> Finding:
        stand = self._stands.get(name)
        if stand is None or stand.state != state:
            stand = self._stands[name] = _Stand(state, self._now)
        return Finding(what, self._now - stand.since, late_s, stuck_s)
