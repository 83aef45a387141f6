"""Cursors of pages: where the last one ended, as text; never a count, which shifts when something comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from schemas.errors import CursorError

_Item = TypeVar("_Item")

#: What the two kinds of cursors look like; numbers of so many digits are beyond every offset and every time.
OFFSET_PATTERN: Final = "^[0-9]{1,18}$"
PLACE_PATTERN: Final = "^[0-9]{1,15}~[0-9.]{1,40}$"


class Place(NamedTuple):
    """Of an item in an order of two: a time, Unix ms, and what tells items of one millisecond apart."""

    timestamp: int
    id: str

    def __str__(self) -> str:
        return f"{self.timestamp}~{self.id}"


def place_of(cursor: str) -> Place:
    """Read ``timestamp~id``.

    Raises:
        CursorError: It is none.
    """
    timestamp, tilde, name = cursor.partition("~")
    if not (tilde and name):
        raise _no_cursor(cursor)
    return Place(number_of(timestamp), name)


def number_of(cursor: str) -> int:
    """Read an offset.

    Raises:
        CursorError: It is none.
    """
    if not (cursor.isascii() and cursor.isdecimal()):
        raise _no_cursor(cursor)
    return int(cursor)


def page(
    items: Iterable[_Item],
    place: Callable[[_Item], Place],
    *,
    behind: Place | None,
    limit: int,
    newest_first: bool,
) -> tuple[list[_Item], Place | None]:
    """Return up to ``limit`` items behind a place, in order, and the place behind which more follow; None for none.

    What comes or goes between two pages moves nothing else: every item that was there all the time is given once.
    """
    ordered = sorted(items, key=place, reverse=newest_first)
    if behind is not None:
        ordered = [item for item in ordered if (place(item) < behind if newest_first else place(item) > behind)]
    chosen = ordered[:limit]
    return chosen, place(chosen[-1]) if len(ordered) > limit else None


def _no_cursor(cursor: str) -> CursorError:
    return CursorError(f"{cursor[:64]!r} is no cursor of this list; take one from an answer")
