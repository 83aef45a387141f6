"""A place in a partition of the tokens topic that can be kept as text and resumed from, on any machine."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from schemas.errors import CursorError

_FORM = re.compile(r"(\d{1,9}):(-1|\d{1,18}):(-1|\d{1,18})(~?)")


class Cursor(NamedTuple):
    """The last record that was taken; ``str(cursor)`` is ``partition:offset:epoch``, the gateway's SSE id.

    In a turn of which something was missed a ``~`` follows: who goes on from there gets its whole text at the end.

    >>> cursor = Cursor.parse("3:1200:17")
    >>> cursor.next_offset, str(cursor)
    (1201, '3:1200:17')

    Attributes:
        partition: Of the tokens topic; a session has one.
        offset: Of the last record taken; -1 for none.
        epoch: The highest epoch seen by then, -1 before the first record. Records of a lower one are a zombie's.
        is_partial: Whether not all of the running turn was taken: its end has to put that right.
    """

    partition: int
    offset: int
    epoch: int = -1
    is_partial: bool = False

    @property
    def next_offset(self) -> int:
        """The first record that is not taken yet."""
        return self.offset + 1

    @property
    def is_resumed(self) -> bool:
        """Whether something was read before it: then the first record behind it may be in the middle of a turn."""
        return self.epoch >= 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``partition:offset:epoch``, or that with a ``~``.

        Raises:
            CursorError: The text is no cursor.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise CursorError(f"{text[:64]!r} is no cursor; one looks like 3:1200:17 (partition:offset:epoch)")
        partition, offset, epoch, partial = match.groups()
        return cls(int(partition), int(offset), int(epoch), partial == "~")

    @classmethod
    def of(cls, value: Cursor | str) -> Cursor:
        """Take a cursor, or its text; raises :class:`CursorError`."""
        return cls.parse(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}:{self.epoch}{'~' if self.is_partial else ''}"
