"""Processes end when they are told to, in order, or because their disk was broken; for nothing else."""

from __future__ import annotations

from tests.chaos.case import Case
from tests.chaos.evidence import Wound
from tests.chaos.fleet import Exit


def check_exits(case: Case) -> None:
    """SIGTERM gives 0; each other end that was not asked for has its wound, and each wound explains one.

    What lasts, as a full disk does, explains the end of each process that lived in it, whenever it comes: it may need
    a write to notice. It explains one of a later process, which found what was broken before it was ready.
    """
    used: set[tuple[int, str]] = set()
    for exit_ in sorted(case.evidence.exits, key=lambda exit_: exit_.at):
        if not exit_.is_asked and not _explain(exit_, case.evidence.wounds, used):
            why = f"on signal {exit_.sent}" if exit_.sent else "by itself"
            case.verdict.fault("exit", f"{exit_.worker} (pid {exit_.pid}) ended {why} with {exit_.code}: {exit_.said}")


def _explain(exit_: Exit, wounds: list[Wound], used: set[tuple[int, str]]) -> bool:
    mine = [
        (number, wound)
        for number, wound in enumerate(wounds)
        if wound.worker in {"", exit_.worker} and wound.began <= exit_.at <= wound.until
    ]
    if any(wound.lasted and exit_.started_at <= wound.ended for _, wound in mine):
        return True
    for number, wound in mine:
        if wound.lasted and exit_.was_ready:
            continue
        if (number, exit_.worker) not in used:
            used.add((number, exit_.worker))
            return True
    return False
