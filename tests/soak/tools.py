"""A tool without an effect, and a model that calls it in every turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from streams.providers.scripted import Behaviour, Script, ScriptedToolCall
from streams.tools import tool

#: Two steps: the first asks for the tool, the second says what it returned.
SCRIPT = Script(
    default=Behaviour(
        reply="It is {results}.",
        before_tools="Let me see.",
        tools=((ScriptedToolCall("lookup", {"word": "castle"}), ScriptedToolCall("lookup", {"word": "door"})),),
    )
)


@tool
async def lookup(word: str) -> str:
    """Say what a word is."""
    await asyncio.sleep(0.005)
    return f"{word}, a word of {len(word)} letters"


def tools_agent(folder: Path) -> dict[str, object]:
    """Return the settings of an agent that follows the script, which is written into ``folder``."""
    path = folder / "script.json"
    path.write_bytes(msgspec.json.encode(SCRIPT))
    return {"model": f"scripted:{path}", "tools": ["tests.soak.tools:lookup"]}
