"""Reads our docstrings: Google's style, with the marks of reStructuredText."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent
from typing import Any, NamedTuple

_SECTION = "Attributes:"
_SECTIONS = frozenset({"Args:", "Returns:", "Raises:", _SECTION})
_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
#: Marks of known hazards, for those who read the code.
_HAZARD = re.compile(r" \([A-Z]\d+\w?\)")
_PROMPTED = re.compile(r"^>>> .*?(?=^$|\Z)", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(r"^Example::\n\n(?P<code>(?: {4}.*\n|\n)+)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?(?P<name>[^`]+)`")


class Sections(NamedTuple):
    """A docstring's parts, as Markdown.

    Attributes:
        text: What stands in none of the others.
        example: Its code, without prompts.
        arguments: What is said of each.
        returns: What comes back.
        raises: Each error, and when.
    """

    text: str
    example: str
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]


def sections(thing: Any) -> Sections:
    """Return the parts of a function's or a class's own docstring."""
    found: dict[str, list[str]] = {"": []}
    into = found[""]
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line in _SECTIONS:
            into = found.setdefault(line, [])
        elif line and not line.startswith(" ") and into is not found[""]:
            into = found[""]
            into.append(line)
        else:
            into.append(line)
    text = "\n".join(found[""])
    examples = doctest.DocTestParser().get_examples(text)
    plain = _PROMPTED.sub("", text)
    plain = _LITERAL.sub(lambda m: f"```text\n{dedent(m['code']).rstrip()}\n```\n\n", f"{plain}\n")
    return Sections(
        re.sub(r"\n{3,}", "\n\n", to_markdown(plain)).strip(),
        "".join(example.source for example in examples).rstrip(),
        _entries(found.get("Args:", [])),
        to_markdown(" ".join(" ".join(found.get("Returns:", [])).split())),
        _entries(found.get("Raises:", [])),
    )


def _entries(lines: list[str]) -> dict[str, str]:
    return {name: to_markdown(" ".join(text.split())) for name, text in _listed(lines).items()}


def prose(thing: type) -> str:
    """Return a class's own docstring as Markdown, without its attributes."""
    return to_markdown("\n".join(_split(thing)[0]).strip())


def attributes(thing: type) -> dict[str, str]:
    """Return what a class and its bases say of their attributes, by name, each in one line of Markdown."""
    found: dict[str, str] = {}
    for cls in reversed(thing.__mro__[:-1]):
        found |= _beside_fields(cls)
        found |= _listed(_split(cls)[1])
    return {name: to_markdown(" ".join(text.split())) for name, text in found.items()}


def to_markdown(text: str) -> str:
    """Return a docstring's text with Markdown's marks."""
    return _ROLE.sub(r"`\g<name>`", _HAZARD.sub("", text)).replace("``", "`")


def _split(thing: type) -> tuple[list[str], list[str]]:
    """Return a docstring's lines outside and inside of its attributes."""
    outside: list[str] = []
    inside: list[str] = []
    into = outside
    for line in inspect.cleandoc(thing.__dict__.get("__doc__") or "").splitlines():
        if line == _SECTION:
            into = inside
            continue
        if into is inside and line and not line.startswith(" "):
            into = outside
        into.append(line)
    return outside, inside


def _listed(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    for line in dedent("\n".join(lines)).splitlines():
        entry = None if line.startswith(" ") else _ENTRY.fullmatch(line)
        if entry is not None:
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"])
        else:
            found |= {name: f"{found[name]} {line}" for name in names}
    return found


def _beside_fields(thing: type) -> dict[str, str]:
    """Return the docstrings that stand below fields."""
    return dict(_strings_below_fields(thing))


def _strings_below_fields(thing: type) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(dedent(inspect.getsource(thing)))
    except (OSError, TypeError):  # made at run time
        return
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            yield field.target.id, str(ast.literal_eval(text.value))
