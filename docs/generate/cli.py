"""The command line, from typer's own description of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from barnabas.cli import app
from docs.generate.docstrings import to_markdown
from docs.generate.markdown import code, document, table

_EXAMPLES = re.compile(r"\n\nExamples?: (?P<text>.+)", re.DOTALL)

_INTRODUCTION = """\
`barnabas --help` lists the commands, `barnabas COMMAND --help` shows one with an example; completion for a shell is
installed by `barnabas --install-completion`.

Two options belong to `barnabas` itself and may stand anywhere: `--config FILE` names the settings file, `--debug` shows
traces and the libraries' own logs. Commands that read have `--json`: one object a line. An error is one line on stderr
that says what to do (with `--json` also an object with `"event": "error"` and its [code](errors.md)). Exit codes: 0;
1 after an error, or where what was asked about is not well; 2 for a wrong use; 130 after Ctrl-C."""


class Described(NamedTuple):
    """A command.

    Attributes:
        name: With the groups it belongs to: ``barnabas broker start``.
        usage: The arguments.
        text: What it does.
        example: How it is used; empty where its help has none.
        parameters: Arguments and options, each with its meaning.
    """

    name: str
    usage: str
    text: str
    example: str
    parameters: list[tuple[str, str]]


def page() -> str:
    """Return the page."""
    parts = []
    for command in described():
        parts += [f"## {command.name}", to_markdown(command.text), code(command.usage)]
        if command.parameters:
            parts.append(table(("argument or option", "meaning"), [(code(a), b) for a, b in command.parameters]))
        if command.example:
            parts.append(f"Example: {code(command.example)}")
    return document("Command line", _INTRODUCTION, *parts)


def described() -> list[Described]:
    """Return all commands, by name."""
    return sorted(_walk(typer.main.get_command(app), "barnabas", None), key=lambda command: command.name)


def _walk(command: Any, name: str, above: Any) -> Iterator[Described]:
    context = command.context_class(command, parent=above, info_name=name.rpartition(" ")[2])
    if hasattr(command, "commands"):
        for inner, each in command.commands.items():
            yield from _walk(each, f"{name} {inner}", context)
        if not command.invoke_without_command:
            return
    text = " ".join((command.help or "").replace("\n\n", "\0").split()).replace("\0", "\n\n")
    examples = _EXAMPLES.search(text)
    yield Described(
        name=name,
        usage=" ".join(context.get_usage().removeprefix("Usage: ").split()),
        text=_EXAMPLES.sub("", text),
        example=examples["text"] if examples else "",
        parameters=[
            (record[0], record[1].replace("  [required]", " Required."))
            for each in command.params
            if (record := each.get_help_record(context))
        ],
    )
