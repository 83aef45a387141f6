"""A cursor as text and back."""

import pytest

from barnabas.cursor import Cursor
from schemas.errors import CursorError


@pytest.mark.parametrize(
    "cursor", [Cursor(3, 1200, 17), Cursor(0, -1, -1), Cursor(0, 0, 0), Cursor(3, 7, 2, is_partial=True)]
)
def test_parse_reads_what_str_wrote(cursor: Cursor) -> None:
    """It survives a file, a header, another process."""
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.of(str(cursor)) == Cursor.of(cursor) == cursor


@pytest.mark.parametrize(
    "text", ["", "3", "3:1", "3:1:2:4", "a:b:c", "3:-2:0", "3:1:-5", " 3:1:2", "3:1:2\n", "3:1:2~~", "3:1~:2"]
)
def test_parse_refuses_what_is_no_cursor(text: str) -> None:
    """It may come from a client's header: nothing else gets through."""
    with pytest.raises(CursorError, match="is no cursor"):
        Cursor.parse(text)


def test_cursor_that_has_seen_nothing_is_not_resumed() -> None:
    """The one that send() gives: a turn's first record is to come."""
    assert not Cursor(0, 41).is_resumed
    assert Cursor(0, 41, 7).is_resumed
    assert Cursor(0, 41).next_offset == 42
