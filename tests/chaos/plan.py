"""What a chaos run will do, faults and times, before anything runs: a pure function of its seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

#: The load runs undisturbed at first, so that there is something to break, and at its end.
WARM_UP_S: Final = 3.0
COOL_DOWN_S: Final = 4.0

#: The outage that is planted: exactly so long, in seconds, in every run that is long and in those of every fifth seed.
OUTAGE_S: Final = 30.0
_OUTAGE_EVERY: Final = 5
_LONG_S: Final = 120.0

#: Time between faults on average: a take-over after a kill takes as long, so that most things meet another.
EVERY_S: Final = 7.0


class Kind(StrEnum):
    """What is done to a deployment."""

    KILL = "kill"  #: SIGKILL of a worker; its supervisor starts it again.
    TERM = "term"  #: SIGTERM, and a start when it has ended.
    TERM_AT_START = "term-at-start"  #: SIGKILL, and SIGTERM while the next process is starting.
    STUTTER = "stutter"  #: SIGSTOP for less than the session time-out.
    ZOMBIE = "zombie"  #: SIGSTOP beyond the session time-out, then SIGCONT.
    BROKER_KILL = "broker-kill"  #: SIGKILL of Kafka, and a start.
    BROKER_STOP = "broker-stop"  #: Kafka stopped in order, and down for a while.
    JOIN_LEAVE = "join-leave"  #: Two more workers join and leave in quick succession.
    WIPE = "wipe"  #: SIGKILL, the data directory deleted, a start.
    CORRUPT_DOWN = "corrupt-down"  #: SIGKILL, bytes of RocksDB's files flipped, a start.
    CORRUPT_RUNNING = "corrupt-running"  #: The same under a running worker.
    DISK_FULL = "disk-full"  #: No file of a worker can grow, until one had to; nor of what starts meanwhile.


#: Ages, in seconds, at which messages are rejected as overloaded in some runs.
_SHED_LAGS_S: Final = (None, None, 3.0, 10.0)

#: How long faults last, in seconds; what is not here is over at once.
_LASTS_S: Final = {
    Kind.TERM_AT_START: (0.0, 3.0),
    Kind.STUTTER: (0.5, 4.0),
    Kind.ZOMBIE: (7.5, 14.0),  # the session time-out is 6 s, and the others shall have taken over
    Kind.BROKER_KILL: (0.0, 3.0),
    Kind.BROKER_STOP: (4.0, 30.0),
    Kind.JOIN_LEAVE: (0.2, 5.0),
    Kind.WIPE: (0.2, 5.0),
    Kind.DISK_FULL: (2.0, 8.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to be done.

    Attributes:
        at_s: When, in seconds from the start of the load.
        kind: What.
        worker: To which of the workers, from 0; without meaning for the broker's.
        duration_s: For how long, where it lasts.
        seed: Of the choices made while it is done (which bytes to flip).
    """

    at_s: float
    kind: Kind
    worker: int
    duration_s: float
    seed: int

    def __str__(self) -> str:
        lasts = f" for {self.duration_s:.1f} s" if self.duration_s else ""
        return f"{self.at_s:7.1f} s  {self.kind} w{self.worker + 1}{lasts}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's faults, in the order of their times.

    Attributes:
        seed: Of everything.
        duration_s: How long the load was to run, in seconds.
        workers: How many workers are kept running.
        faults: What is done.
        standby_replicas: Copies of each partition that other workers keep.
        shed_lag_s: Age of a message, in seconds, at which it is rejected; None for never.
        longer_s: How much longer it runs, in seconds, because of the outage that is planted.
    """

    seed: int
    duration_s: float
    workers: int
    faults: tuple[Fault, ...]
    standby_replicas: int = 0
    shed_lag_s: float | None = None
    longer_s: float = 0.0

    @property
    def load_s(self) -> float:
        """How long the load runs, in seconds."""
        return self.duration_s + self.longer_s

    @property
    def counts(self) -> Counter[str]:
        """Faults by kind."""
        return Counter(str(fault.kind) for fault in self.faults)


def make_plan(
    seed: int,
    duration_s: float,
    *,
    workers: int = 0,
    every_s: float = EVERY_S,
    max_outage_s: float = 0.0,
    kinds: tuple[Kind, ...] = tuple(Kind),
) -> Plan:
    """Make the plan of a seed.

    Kinds are dealt like cards, so that each comes once before any comes twice; what lasts overlaps what follows.

    Args:
        seed: The same seed and arguments give the same plan, on every machine.
        duration_s: Of the load, in seconds.
        workers: How many; 1 to 4 by the seed where 0.
        every_s: Mean time between two faults, in seconds.
        max_outage_s: Longest time without a broker, in seconds. Where 0: 30, or a sixth of the run if that is less; and
            one of 30 s is planted in a run of two minutes or more, and in a shorter one whose seed divides by 5.
        kinds: What may be done.
    """
    rng = random.Random(f"plan {seed}")
    is_planted = not max_outage_s and Kind.BROKER_STOP in kinds and (duration_s >= _LONG_S or not seed % _OUTAGE_EVERY)
    max_outage_s = max_outage_s or min(_LASTS_S[Kind.BROKER_STOP][1], duration_s / 6)
    count = workers or rng.randint(1, 4)
    faults: list[Fault] = []
    deck: list[Kind] = []
    at_s = WARM_UP_S + rng.uniform(0.0, 2.0)
    while at_s < duration_s - COOL_DOWN_S:
        if not deck:
            deck = rng.sample(kinds, len(kinds))
        kind = deck.pop()
        lasts = round(_duration(kind, rng, max_outage_s), 2)
        faults.append(Fault(round(at_s, 2), kind, rng.randrange(count), lasts, rng.getrandbits(32)))
        at_s += rng.uniform(0.1, 1.9) * every_s
    longer_s = _plant_outage(faults, random.Random(f"outage {seed}"), duration_s, count) if is_planted else 0.0
    settings = random.Random(f"settings {seed}")
    standby_replicas, shed_lag_s = settings.randint(0, 1), settings.choice(_SHED_LAGS_S)
    return Plan(seed, duration_s, count, tuple(faults), standby_replicas, shed_lag_s, longer_s)


def _plant_outage(faults: list[Fault], rng: random.Random, duration_s: float, workers: int) -> float:
    """Have the broker be down for 30 s, once; returns how much longer the load has to run, in seconds."""
    at_s = round(rng.uniform(WARM_UP_S, max(WARM_UP_S, duration_s - COOL_DOWN_S)), 2)
    outage = Fault(at_s, Kind.BROKER_STOP, rng.randrange(workers), OUTAGE_S, rng.getrandbits(32))
    stops = [place for place, fault in enumerate(faults) if fault.kind is Kind.BROKER_STOP]
    if stops:
        place = rng.choice(stops)
        faults[place] = replace(faults[place], duration_s=OUTAGE_S)
    else:
        faults.append(outage)
        faults.sort(key=lambda fault: fault.at_s)
    return OUTAGE_S


def _duration(kind: Kind, rng: random.Random, max_outage_s: float) -> float:
    shortest, longest = _LASTS_S.get(kind, (0.0, 0.0))
    if kind is Kind.BROKER_STOP:
        shortest, longest = min(shortest, max_outage_s), max_outage_s
    return rng.uniform(shortest, longest)
