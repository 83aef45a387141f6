"""A page of the documentation, as what a reader does with it: its fenced blocks in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Stands before a block that no test can run, with the reason.
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+?) -->")
_NAMED = re.compile(r"# (?P<name>[\w.-]+\.(?:py|yaml))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        page: The file, relative to the repository.
        line: Where the fence opens, counted from 1.
        language: The first word behind the fence; empty where there is none.
        flags: The other words.
        text: What stands inside.
        not_run: Why it cannot be run; None where it can.
    """

    page: str
    line: int
    language: str
    flags: tuple[str, ...]
    text: str
    not_run: str | None = None

    @property
    def file_name(self) -> str | None:
        """The file that the reader is to write: the first line is a comment that names it."""
        named = _NAMED.match(self.text)
        return named["name"] if named and self.language in {"python", "yaml"} else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(path: Path, root: Path) -> list[Block]:
    """Return a page's fenced blocks in order; ``path`` lies below ``root``."""
    return list(_blocks(path.read_text(), path.relative_to(root).as_posix()))


def _blocks(text: str, page: str) -> Iterator[Block]:
    before: Token | None = None
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence":
            language, *flags = token.info.split() or [""]
            comment = _NOT_RUN.fullmatch(before.content.strip()) if before and before.type == "html_block" else None
            line = token.map[0] + 1 if token.map else 0
            yield Block(page, line, language, tuple(flags), token.content, comment["reason"] if comment else None)
        before = token
