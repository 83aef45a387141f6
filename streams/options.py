"""What an operator may set on a worker, with the defaults; light to import, since settings read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a worker, each with the failure it prevents.

    Attributes:
        max_turns: Turns running at once in this worker.
        pool_timeout_s: Longest a turn waits for a slot, in seconds; then it fails with that cause.
        turn_timeout_s: Longest a turn may take, in seconds: its message holds back the partition's commit.
        max_text_chars: Longest user text, in characters; a longer one is a dead letter.
        max_answer_chars: Longest answer, in characters; at 4 bytes each it fits into one token record of 1 MiB.
        high_water: Messages begun and not done at which fetching of ``messages`` is held (P2).
        low_water: ... and at which it goes on.
        max_unconfirmed: Session values waiting for the broker at which fetching of ``events`` is held.
        max_early_cancels: Cancels remembered for messages that have not come yet, a partition.
        drain_timeout_s: After SIGTERM, how long running turns may go on, in seconds.
        recovery_timeout_s: Longest a recovery may take, in seconds.
    """

    max_turns: int = 1000
    pool_timeout_s: float = 30.0
    turn_timeout_s: float = 120.0
    max_text_chars: int = 100_000
    max_answer_chars: int = 250_000
    high_water: int = 4000
    low_water: int = 2000
    max_unconfirmed: int = 20_000
    max_early_cancels: int = 1000
    drain_timeout_s: float = 10.0
    recovery_timeout_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """The group's timing, in seconds.

    Attributes:
        session_timeout_s: Without a heartbeat for so long a worker is taken for dead; the pause after a kill (B1).
            6 s is the least a broker allows by default.
        heartbeat_interval_s: A third of it at most, so that one lost heartbeat does no harm.
        rebalance_timeout_s: How long the group waits for a member to join again.
        commit_interval_s: How often offsets are committed; what is behind is folded again after a failure.
    """

    session_timeout_s: float = 6.0
    heartbeat_interval_s: float = 1.5
    rebalance_timeout_s: float = 20.0
    commit_interval_s: float = 1.0
