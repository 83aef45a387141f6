"""What topics hold, from the types that are written and read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from docs.generate.docstrings import attributes, prose, to_markdown
from docs.generate.markdown import code, document, table, type_name
from schemas import attempt, commands, controls, dead_letters, events, session, tokens

_MEMBER = re.compile(r'^\s+\w+ = "(?P<value>\w+)"\s+#: (?P<text>.+)$', re.MULTILINE)


def events_page() -> str:
    """Return the page of the log's events."""
    envelope, outcome = events.TurnStarted.__mro__[1], events.TurnCompleted.__mro__[1]
    shared = {field.name for field in msgspec.structs.fields(outcome)}
    parts = [
        _intro(events),
        "In every event but `PartitionOpened`:",
        _fields(envelope),
        "In every event that ends a message's work (an outcome), beside those:",
        _fields(outcome, without={field.name for field in msgspec.structs.fields(envelope)}),
    ]
    for event in get_args(events.LogEvent):
        parts += _section(event, without=shared if event is not events.PartitionOpened else ())
    parts += ["# Parts of events", *_sections(attempt.Attempt, events.ToolCall, events.Usage)]
    return document("Events", *parts)


def tokens_page() -> str:
    """Return the page of the answers' records."""
    kinds = [(code(m["value"]), to_markdown(m["text"])) for m in _MEMBER.finditer(inspect.getsource(tokens.TokenKind))]
    parts = [_intro(tokens), *_sections(tokens.Token), "## Kinds", table(("kind", "meaning"), kinds)]
    return document("Tokens", *parts, *_sections(tokens.ToolUse, attempt.Attempt, events.Usage))


def commands_page() -> str:
    """Return the page of what users publish."""
    text = "JSON and Avro are both taken, told apart by their first byte. JSON without `type` is a message."
    return document("Commands", _intro(commands), text, *_sections(*get_args(commands.Command)))


def controls_page() -> str:
    """Return the page of orders about turns."""
    text = 'In JSON, `type` says which: `{"type": "cancel", "message_id": "m-1"}`.'
    return document("Controls", _intro(controls), text, *_sections(*get_args(controls.Control)))


def dead_letters_page() -> str:
    """Return the page of what could not be handled."""
    return document("Dead letters", _intro(dead_letters), *_sections(*_first(dead_letters.DeadLetter, dead_letters)))


def session_page() -> str:
    """Return the page of the session's value."""
    return document("Session", _intro(session), *_sections(*_first(session.Session, session)))


def _intro(module: ModuleType) -> str:
    return to_markdown(inspect.getdoc(module) or "")


def _first(struct: type[Struct], module: ModuleType) -> list[type[Struct]]:
    """Return a struct, and the others that its module itself defines, in its order."""
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Struct)]
    return [struct, *(each for each in found if each.__module__ == module.__name__ and each is not struct)]


def _sections(*structs: type[Struct]) -> list[str]:
    return [part for struct in structs for part in _section(struct)]


def _section(struct: type[Struct], without: Iterable[str] = ()) -> list[str]:
    tag = struct.__struct_config__.tag
    named = f"`type` is `{tag}`." if tag is not None and tag != struct.__name__ else ""
    return [f"## {struct.__name__}", prose(struct), named, _fields(struct, without)]


def _fields(struct: type[Struct], without: Iterable[str] = ()) -> str:
    meanings, hints = attributes(struct), get_type_hints(struct, include_extras=True)
    rows = [
        (code(field.encode_name), code(type_name(hints[field.name])), _default(field), meanings[field.name])
        for field in msgspec.structs.fields(struct)
        if field.name not in set(without)
    ]
    return table(("field", "type", "default", "meaning"), rows) if rows else ""


def _default(field: Any) -> str:
    if field.default_factory is not NODEFAULT:
        return code(field.default_factory())
    if field.default is NODEFAULT:
        return ""
    if isinstance(field.default, Struct):
        return "zeros"
    return code(repr(field.default) if field.default in ("", ()) else field.default)
