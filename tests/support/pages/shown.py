"""Compares what a page shows with what a command put out."""

from __future__ import annotations

import re

#: Stands for whatever differs from run to run; alone on a line for any number of lines.
_ANY = "…"


def is_shown(shown: str, output: str) -> bool:
    """Whether ``output`` has the shown lines, in order and next to each other.

    Digits stand for any digits, ``…`` in a line for any characters, ``…`` alone for any lines; white space is folded.
    """
    lines = [_folded(line) for line in shown.strip().splitlines()]
    pattern = "".join(r"(?:[^\n]*\n)*?" if line == _ANY else _line(line) + r"\n" for line in lines)
    folded = "".join(_folded(line) + "\n" for line in output.strip().splitlines())
    return re.search(rf"(?m)^{pattern}", folded) is not None


def _line(text: str) -> str:
    parts = (re.sub(r"\d+", r"\\d+", re.escape(part)) for part in text.split(_ANY))
    return r"[^\n]*".join(parts)


def _folded(line: str) -> str:
    return " ".join(line.split())
