"""How an answer is written to the terminal, or to a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from barnabas.commands import context

if TYPE_CHECKING:
    from barnabas.client import Part


#: Longer without a token is worth a word.
HINT_S: Final = 5.0


@contextmanager
def silence_hint() -> Iterator[Callable[[], None]]:
    """Say once, on stderr, that nobody answers, unless what is handed out is called within :data:`HINT_S`."""
    import threading

    timer = threading.Timer(HINT_S, context.say, ("nobody answers yet; is a worker running?",))
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


class AnswerPrinter:
    """Writes an answer's text as it comes."""

    def __init__(self) -> None:
        self._is_written = False

    def __call__(self, part: Part) -> None:
        """Write what changed."""
        if part.kind == "text":
            self._write(part.text)
        elif part.kind == "tool" and part.token.tool is not None and part.token.tool.arguments is not None:
            self._write(f"[{part.token.tool.name} {part.token.tool.arguments}] ")
        elif part.kind == "reset" and self._is_written:
            self._write("\n[a worker was lost; the answer begins again]\n")
            self._is_written = False
        elif part.outcome is not None:
            if part.outcome == "cancelled":
                self._write(" [cancelled]")
            if self._is_written:
                self._write("\n")

    def _write(self, text: str) -> None:
        self._is_written = True
        sys.stdout.write(text)
        sys.stdout.flush()


def print_token(part: Part) -> None:
    """Write the token record behind a part as a line of JSON."""
    from schemas.serdes import Codec
    from schemas.tokens import TERMINAL_KINDS, TokenKind

    is_repair = part.kind == "text" and part.token.kind in TERMINAL_KINDS
    # The record itself comes with the last part of it, but one that says "superseded" has this part alone.
    is_passing = part.kind == "reset" and part.token.kind != TokenKind.SUPERSEDED
    if not is_passing and not is_repair:
        sys.stdout.write(Codec.to_json(part.token).decode() + "\n")
        sys.stdout.flush()
