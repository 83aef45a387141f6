"""The settings, from the models that check them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from barnabas.settings import AgentSettings, Settings
from barnabas.sources import CUSTOMARY, variable
from docs.generate.docstrings import attributes, prose
from docs.generate.markdown import code, document, table, type_name

_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}

_INTRODUCTION = """\
Settings come from, the first that says something wins:

1. environment variables: `BARNABAS_` and the field's name in capitals, nested fields joined by two underscores
   (`BARNABAS_LIMITS__MAX_TURNS=200`); mappings and lists as JSON;
2. the customary names that other tools use as well, given in the tables;
3. the settings file: `--config FILE`, else `BARNABAS_CONFIG`, else `barnabas.yaml` in the current directory;
4. the defaults below.

An unknown or impossible setting is refused at start, with its field, and its file and line or its variable.
`barnabas config show` prints every setting in force with where it comes from, secrets masked; `barnabas config check`
reads them as a worker does."""


class _Field(NamedTuple):
    name: str
    kind: str
    default: str
    meaning: str


def page() -> str:
    """Return the page."""
    return document("Settings", _INTRODUCTION, "## Top level", _table(Settings, ()), *_groups())


def _groups() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if dataclasses.is_dataclass(field.annotation) and isinstance(field.annotation, type):
            yield from _group(field.annotation, (name,))
        elif name == "agents":
            yield "## agents"
            yield "Agents by name; a message names the one that is to answer. " + prose(AgentSettings)
            yield _table(AgentSettings, (name, "NAME"))


def _group(model: type, above: tuple[str, ...]) -> Iterator[str]:
    """Yield a dataclass's section, then those of the dataclasses within it."""
    yield f"## {'.'.join(above)}"
    yield prose(model)
    yield _table(model, above)
    hints = get_type_hints(model)
    for each in dataclasses.fields(model):
        inner, is_named = _inner(hints[each.name])
        if inner is not None:
            yield from _group(inner, (*above, each.name, *(["NAME"] if is_named else [])))


def _inner(annotation: Any) -> tuple[type | None, bool]:
    """Return the dataclass that a field holds, and whether it holds some of them by name."""
    is_named = get_origin(annotation) is dict
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind, is_named
    return None, False


def _table(model: type, above: tuple[str, ...]) -> str:
    rows = []
    for field in _fields(model):
        names = [variable((*above, field.name))] if "NAME" not in above else []
        names += [CUSTOMARY[field.name]] if not above and field.name in CUSTOMARY else []
        rows.append((code(field.name), field.kind, field.default, field.meaning, " ".join(map(code, names))))
    if "NAME" in above:
        return table(("field", "type", "default", "meaning"), [row[:4] for row in rows])
    return table(("field", "type", "default", "meaning", "variable"), rows)


def _fields(model: type) -> Iterator[_Field]:
    meanings = attributes(model)
    if issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield _Field(name, _kind(field), _default(field), meanings[name])
    elif dataclasses.is_dataclass(model):
        for each in dataclasses.fields(model):
            is_group = _inner(get_type_hints(model)[each.name])[0] is not None
            kind = "see below" if is_group else code(_plain(each.type))
            default = (
                "" if is_group else "required" if each.default is dataclasses.MISSING else code(_said(each.default))
            )
            yield _Field(each.name, kind, default, meanings[each.name])


def _plain(annotation: Any) -> str:
    name = annotation if isinstance(annotation, str) else type_name(annotation)
    return name.replace("tuple[str, ...]", "list[str]").replace("datetime", "time")


def _kind(field: FieldInfo) -> str:
    if _is_group(field.annotation):
        return "see below"
    bounds = [
        f"{sign} {bound}"
        for mark in field.metadata
        for name, sign in _SIGNS.items()
        if (bound := getattr(mark, name, None)) is not None
    ]
    return ", ".join([code(_public(field.annotation)), *bounds])


def _public(annotation: Any) -> str:
    """Return the type as one who writes settings sees it."""
    name = type_name(annotation).replace("SecretStr", "secret").replace("Timeouts", "mapping")
    return name.replace("tuple[str, ...]", "list[str]")


def _is_group(annotation: Any) -> bool:
    if get_origin(annotation) is dict:
        inner = get_args(annotation)[1]
        return isinstance(inner, type) and issubclass(inner, BaseModel)
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _default(field: FieldInfo) -> str:
    if _is_group(field.annotation) and field.default_factory is None:
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Path):
        return "the platform's folder for user data"
    return code(_said(value))


def _said(value: Any) -> str:
    if value is None or isinstance(value, SecretStr):
        return "none"
    if isinstance(value, dict):
        return json.dumps({name: {} for name in value})
    if isinstance(value, tuple):
        return json.dumps(value)
    return str(value) if value != "" else ""
