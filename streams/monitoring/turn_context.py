"""Which turn the running task works for: its log lines name it, those of providers and tools as well."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.turn import Turn

_turn: ContextVar[Turn | None] = ContextVar("barnabas_turn", default=None)


def enter_turn(turn: Turn) -> None:
    """Note that this task works for ``turn`` from now on; a lane's task goes from turn to turn."""
    _turn.set(turn)


def turn_fields() -> dict[str, Any]:
    """Return what names the running turn; nothing outside of one."""
    turn = _turn.get()
    return turn.identity if turn is not None else {}
