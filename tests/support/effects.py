"""Tools with an effect outside of everything: a line in a file, which survives a SIGKILL right after it."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from streams.tools import Tool, ToolContext, tool
from tests.support.waiting import DEADLINE_S

#: The one tool that may run again.
IDEMPOTENT = "again"

#: Set by who lets go of ``block``.
LET_GO = threading.Event()


class Effect(msgspec.Struct, frozen=True):
    """One run of a tool."""

    tool: str
    session_id: str
    turn_id: str
    call_id: str
    key: str
    text: str
    pid: int


def read_effects(path: Path) -> list[Effect]:
    """Every run so far, by any process, in order."""
    return msgspec.json.Decoder(Effect).decode_lines(path.read_bytes()) if path.exists() else []


def effect_tools(path: Path) -> tuple[Tool, ...]:
    """``note`` and ``again`` (idempotent) write a line; ``thread`` does it as a plain function; others misbehave."""

    def write(name: str, text: str, context: ToolContext) -> str:
        effect = Effect(
            name, context.session_id, context.turn_id, context.call_id, context.idempotency_key, text, os.getpid()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(effect) + b"\n")
        finally:
            os.close(descriptor)
        return f"{name} {text}"

    @tool
    async def note(text: str, context: ToolContext) -> str:
        """Write a line."""
        return write("note", text, context)

    @tool(is_idempotent=True)
    async def again(text: str, context: ToolContext) -> str:
        """Write a line; twice is harmless."""
        return write("again", text, context)

    @tool
    def thread(text: str, context: ToolContext) -> dict[str, str]:
        """Write a line, in a thread."""
        return {"said": write("thread", text, context)}

    return note, again, thread, hang, block, broken


@tool(timeout_s=0.3)
async def hang() -> str:
    """Never return, and do not heed being cancelled at once."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    await asyncio.sleep(1.0)
    return "too late"


@tool(timeout_s=0.3)
def block() -> str:
    """Hold a thread until the test lets go of it."""
    LET_GO.wait(DEADLINE_S)
    return "too late"


@tool
async def broken() -> str:
    """Fail."""
    raise ValueError("it broke")
