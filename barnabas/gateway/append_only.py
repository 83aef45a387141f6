"""An answer for readers that can append and never take back, as OpenAI's clients do.

Barnabas's own streams say ``reset`` where an attempt was cut off and the answer begins again. Here nothing is given
that is not known to be a beginning of the text that counts: a new attempt is held back until it has reached what was
given, and has to begin with it.
"""

from __future__ import annotations

from barnabas.client import Part
from barnabas.stream_fold import ChangeKind
from schemas.errors import AnswerChangedError
from schemas.tokens import TokenKind


class AppendOnly:
    """Takes a turn's parts, gives text to append."""

    __slots__ = ("_given", "_is_held", "_text")

    def __init__(self) -> None:
        #: The current attempt's text, in pieces.
        self._text: list[str] = []
        self._given = ""
        #: Whether what comes may not be given: the attempt is behind what was given, or something of it is missing.
        self._is_held = False

    def take(self, part: Part) -> str:
        """Return what may be appended now.

        Raises:
            AnswerChangedError: The text that counts does not begin with what was given.
        """
        if part.kind is ChangeKind.TEXT:
            is_sound = part.token.kind is not TokenKind.DELTA or not part.cursor.is_partial
            if is_sound and not self._is_held:
                self._text.append(part.text)
                return part.text
            self._hold()
            self._text.append(part.text)
            return self._caught_up() if is_sound else ""
        if part.kind is ChangeKind.RESET:
            self._hold()
            self._text.clear()
        elif part.kind is ChangeKind.ENDED and self._is_held:
            found = "".join(self._text)
            if not found.startswith(self._given):
                raise _changed()
            return found[len(self._given) :]
        return ""

    def _hold(self) -> None:
        if not self._is_held:
            self._given = "".join(self._text)
            self._is_held = True

    def _caught_up(self) -> str:
        """Return what lies behind what was given, once the attempt is there."""
        found = "".join(self._text)
        if not (found.startswith(self._given) or self._given.startswith(found)):
            raise _changed()
        if len(found) < len(self._given):
            return ""
        self._is_held = False
        self._text = [found]
        return found[len(self._given) :]


def _changed() -> AnswerChangedError:
    return AnswerChangedError(
        "the answer was cut off and began again with another text, which cannot be appended; read it from its session"
    )
