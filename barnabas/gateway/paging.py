"""Cursors of pages: where the last one ended, as opaque text; never a count, which shifts when something comes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from schemas.errors import CursorError

_Item = TypeVar("_Item")

#: The greatest offset that Kafka has; also beyond every timestamp.
_MAX = 2**63 - 1


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
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor) <= _MAX):
        raise _no_cursor(cursor)
    return int(cursor)


def text_cursor(text: str) -> str:
    """Return a cursor that holds a text."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def text_of(cursor: str) -> str:
    """Undo :func:`text_cursor`.

    Raises:
        CursorError: It is none.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        text = raw.decode()
    except (ValueError, binascii.Error):
        raise _no_cursor(cursor) from None
    if not text:
        raise _no_cursor(cursor)
    return text


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
