"""Deadlines of a run, in seconds: far beyond what anything takes, so that none is met because a machine is busy."""

from __future__ import annotations

from typing import Final

#: The workers' ``limits.recovery_timeout_s``: longer than any planned outage.
RECOVERY_S: Final = 180.0

#: ``limits.turn_timeout_s``; short, so that a stalled model costs seconds. So long a cancel waits for its message.
TURN_S: Final = 15.0

#: Java's start.
BROKER_START_S: Final = 240.0

#: SIGTERM to the end of a worker, which ends itself, by force and with a code of its own, long before.
STOP_S: Final = 180.0

#: Without any progress.
READY_S: Final = 240.0
DOCTOR_S: Final = 600.0
