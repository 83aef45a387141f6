"""Makes Markdown."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_NOTE = "<!-- Written by `make docs` from the code; edit the docstrings there. -->"


def document(title: str, *parts: str) -> str:
    """Return a whole page."""
    return "\n\n".join((_NOTE, f"# {title}", *(part.strip("\n") for part in parts if part))) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a ``|`` in a cell is kept as text."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(value: object) -> str:
    """Return a code span; nothing for nothing."""
    text = str(value)
    return f"`{text}`" if text else ""


def type_name(annotation: Any) -> str:
    """Return a type as its readers write it: ``int | None``, ``dict[str, str]``, the words of a Literal."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "None"
    if origin is Annotated:
        return type_name(arguments[0])
    if origin in {Union, types.UnionType}:
        return " | ".join(map(type_name, arguments))
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is None:
        return str(getattr(annotation, "__name__", annotation))
    inner = ", ".join("..." if argument is Ellipsis else type_name(argument) for argument in arguments)
    return f"{origin.__name__}[{inner}]"
