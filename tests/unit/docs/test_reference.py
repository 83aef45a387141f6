"""The reference says what the code says."""

import re
import shlex
from typing import Any

import pytest
import typer

from barnabas.cli import _hoisted, app
from docs.generate.cli import described
from docs.generate.docstrings import attributes, prose
from docs.generate.errors import REASONS
from docs.generate.pages import PAGES
from tests.support.processes import ROOT

_FOLDER = ROOT / "docs" / "reference"
_EXAMPLES = [example for command in described() for example in re.split(r"; (?=barnabas )", command.example)]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    """Committed as it is generated: ``make docs`` writes it again."""
    assert (_FOLDER / name).read_text() == PAGES[name](), f"docs/reference/{name} is out of date; run: make docs"


def test_folder_holds_the_generated_pages_alone() -> None:
    """A page whose source is gone goes, too."""
    assert {path.name for path in _FOLDER.iterdir()} == set(PAGES)


def test_reasons_are_those_of_the_code() -> None:
    """None is missing, and none is gone."""
    rooms = [ROOT / room for room in ("topics", "streams", "barnabas")]
    text = "\n".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    raised = set(re.findall(r'InvalidMessageError\(\s*"(\w+)"', text))
    assert raised - REASONS.keys() == set()
    assert [reason for reason in REASONS if f'"{reason}"' not in text] == []


def test_every_command_has_an_example() -> None:
    """A command is learnt from its example."""
    assert [command.name for command in described() if not command.example] == []


@pytest.mark.parametrize("example", _EXAMPLES)
def test_example_is_understood(example: str) -> None:
    """Its command, options and values exist; nothing is run."""
    line = example.partition("barnabas ")[2].partition(" (")[0]
    _parse(typer.main.get_command(app), "barnabas", _hoisted(shlex.split(line)), None)


def _parse(command: Any, name: str, words: list[str], above: Any) -> None:
    context = command.make_context(name, list(words), parent=above)
    left = [*context._protected_args, *context.args]
    if hasattr(command, "commands") and (left or not command.invoke_without_command):
        inner, each, rest = command.resolve_command(context, left)
        _parse(each, inner, rest, context)


class Documented:
    """What it is.

    Attributes:
        first: One ``line``.
        second, third: More than
            one line.

    What else there is.
    """

    fourth: int = 4
    """Below its field."""


class Inheriting(Documented):
    """Another.

    Attributes:
        first: Said anew (P2).
    """


def test_docstring_gives_prose_and_attributes() -> None:
    """Attributes go, with their marks translated; what stands behind them stays."""
    assert prose(Documented) == "What it is.\n\nWhat else there is."
    said = {"first": "One `line`.", "second": "More than one line.", "third": "More than one line."}
    assert attributes(Documented) == {"fourth": "Below its field.", **said}
    assert attributes(Inheriting) == {**attributes(Documented), "first": "Said anew."}
