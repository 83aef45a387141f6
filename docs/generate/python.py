"""What a program imports from ``barnabas``, from its signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import barnabas
from barnabas.client import SyncStream
from docs.generate.docstrings import attributes, prose, sections, to_markdown
from docs.generate.markdown import code, document, table

_INTRODUCTION = """\
All of this is imported from `barnabas`; how it is used together: [use it from Python](../how-to/python.md). A test runs
every example of the clients. Errors are subclasses of `BarnabasError`; what each means: [errors](errors.md)."""

_SYNC = """\
The same methods as `Client`, with the same arguments and errors, which wait instead of being awaited: `stream` returns
a `SyncStream`, `replay` and `events` plain iterators."""

#: In the order in which one meets them.
_CLASSES: Final = (
    barnabas.Client,
    barnabas.TokenStream,
    barnabas.Message,
    barnabas.Sent,
    barnabas.Part,
    barnabas.Answer,
    barnabas.Cursor,
    barnabas.LoggedEvent,
    barnabas.Tool,
    barnabas.ToolContext,
)


def page() -> str:
    """Return the page."""
    parts = [part for each in _CLASSES for part in _class(each)]
    parts += ["## SyncClient", _first_sentence(barnabas.SyncClient), _SYNC, *_example(barnabas.SyncClient)]
    parts += ["## SyncStream", prose(SyncStream), *_members(SyncStream)]
    parts += ["## Tools and figures of your own"]
    for name, function in (
        ("tool", barnabas.tool),
        ("metrics.counter", barnabas.metrics.counter),
        ("metrics.gauge", barnabas.metrics.gauge),
        ("metrics.timer", barnabas.metrics.timer),
    ):
        parts += _function(f"barnabas.{name}", name.rpartition(".")[2], function)
    return document("Python", _INTRODUCTION, *parts)


def _class(cls: type) -> Iterator[str]:
    told = sections(cls)
    yield f"## {cls.__name__}"
    yield told.text
    yield from _example(cls)
    if told.arguments:
        yield _arguments(told.arguments)
    if meanings := {name: text for name, text in attributes(cls).items() if name in _fields(cls)}:
        kinds = inspect.get_annotations(cls)
        yield table(
            ("attribute", "type", "meaning"),
            [
                (code(name), code(getattr(kinds.get(name), "__forward_arg__", kinds.get(name, ""))), text)
                for name, text in meanings.items()
            ],
        )
    yield from _members(cls)


def _fields(cls: type) -> set[str]:
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls)}
    return {*getattr(cls, "_fields", ()), *getattr(cls, "__struct_fields__", ())}


def _members(cls: type) -> Iterator[str]:
    for name, member in vars(cls).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            yield f"### {cls.__name__}.{name}"
            yield to_markdown(inspect.getdoc(member) or "")
        elif isinstance(member, classmethod):
            yield from _function(f"{cls.__name__}.{name}", name, member.__func__)
        elif inspect.isfunction(member):
            yield from _function(f"{cls.__name__}.{name}", name, member)


def _function(title: str, name: str, function: Callable[..., Any]) -> Iterator[str]:
    told, signature = sections(function), inspect.signature(function)
    is_async = "async " if inspect.iscoroutinefunction(function) else ""
    yield f"### {title}"
    yield f"```text\n{is_async}{_shown(name, signature)}\n```"
    yield told.text
    yield from _example(function)
    if told.arguments:
        yield _arguments(told.arguments)
    if told.returns:
        yield f"Returns: {told.returns}"
    if told.raises:
        yield table(("raises", "when"), [(code(error), when) for error, when in told.raises.items()])


def _arguments(meanings: dict[str, str]) -> str:
    return table(("argument", "meaning"), [(code(name), meaning) for name, meaning in meanings.items()])


def _shown(name: str, signature: inspect.Signature) -> str:
    """Return a signature as one line, or as one line a parameter."""
    returns = "" if signature.return_annotation is inspect.Signature.empty else f" -> {signature.return_annotation}"
    parameters = list(_parameters(signature))
    line = f"{name}({', '.join(parameters)}){returns}"
    if len(line) <= 100:  # noqa: PLR2004 -- what fits a page
        return line
    return f"{name}(\n{''.join(f'    {each},{chr(10)}' for each in parameters)}){returns}"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    is_keyword_only = False
    for one in signature.parameters.values():
        if one.name in {"self", "cls"}:
            continue
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            yield "*"
        default = "" if one.default is inspect.Parameter.empty else f" = {one.default!r}"
        yield f"{one.name}: {one.annotation}{default}"


def _example(thing: Any) -> Iterator[str]:
    if example := sections(thing).example:
        yield f"```text\n{example}\n```"


def _first_sentence(cls: type) -> str:
    return sections(cls).text.partition("\n\n")[0]
