"""Which struct is which record: the closed families of the wire, and the Avro full name of each."""

from __future__ import annotations

from typing import get_args

from msgspec import Struct

from schemas.commands import Command, EraseSession, UserMessage
from schemas.controls import ApproveTurn, CancelTurn, Control, DenyTurn
from schemas.dead_letters import DeadLetterRecord
from schemas.events import LogEvent
from schemas.session import PartitionState, Session
from schemas.tokens import Token

NAMESPACE = "barnabas.v1"

#: Everything :class:`schemas.serdes.Codec` can encode.
Record = Command | Control | LogEvent | Token | DeadLetterRecord | Session | PartitionState

COMMANDS: tuple[type[Struct], ...] = get_args(Command)
CONTROLS: tuple[type[Struct], ...] = get_args(Control)
EVENTS: tuple[type[Struct], ...] = get_args(LogEvent)
TOKENS: tuple[type[Struct], ...] = (Token,)
DEAD_LETTERS: tuple[type[Struct], ...] = get_args(DeadLetterRecord)
VALUES: tuple[type[Struct], ...] = (Session, PartitionState)

RECORDS: dict[str, type[Struct]] = {
    cls.__name__: cls for cls in (*COMMANDS, *CONTROLS, *EVENTS, *TOKENS, *DEAD_LETTERS, *VALUES)
}

#: The ``type`` that people write in JSON, for each command and control.
JSON_COMMANDS: dict[str, type[Struct]] = {"message": UserMessage, "erase": EraseSession}
JSON_CONTROLS: dict[str, type[Struct]] = {"cancel": CancelTurn, "approve": ApproveTurn, "deny": DenyTurn}


def full_name(cls: type[Struct]) -> str:
    """The Avro name of a struct, such as ``barnabas.v1.TurnStarted``."""
    return f"{NAMESPACE}.{cls.__name__}"
