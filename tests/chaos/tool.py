"""A tool with an effect: it writes its call down, and takes a moment for it."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Final

from streams.tools import ToolContext, tool

#: Names the file of effects.
EFFECTS: Final = "CHAOS_EFFECTS"
_LONGEST_S: Final = 0.4


@tool(description="Writes a word down.")
def note(word: str, context: ToolContext) -> str:
    """Write the call down, once each time it is made."""
    time.sleep(random.uniform(0.0, _LONGEST_S))
    effect = {"turn_id": context.turn_id, "call_id": context.call_id}
    with Path(os.environ[EFFECTS]).open("ab", buffering=0) as file:  # one write: whole, or not at all
        file.write(json.dumps(effect).encode() + b"\n")
    return f"noted {word}"
