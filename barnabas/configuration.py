"""Reads the settings: finds ``barnabas.yaml``, lays the environment above it, and says where a mistake stands."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError as SourceError

from barnabas.settings import CUSTOMARY, PREFIX, Settings, is_known, variable
from schemas.errors import SettingsError

CONFIG_VARIABLE = "BARNABAS_CONFIG"
FILE_NAME = "barnabas.yaml"

_Location = tuple[str | int, ...]


def load_settings(config: Path | None = None) -> Settings:
    """Return the settings: ``BARNABAS_*`` variables, then customary names, the file, the defaults.

    Args:
        config: The file; else ``BARNABAS_CONFIG``, else ``barnabas.yaml`` in the current directory if it is there.

    Raises:
        SettingsError: A setting is unknown or impossible; the text names field, file and line, or variable.
    """
    _refuse_unknown_variables()
    path = _find(config)
    values, lines = _read(path) if path is not None else ({}, {})
    for field, name in CUSTOMARY.items():
        if text := os.environ.get(name, "").strip():
            values[field] = text
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(error, path, lines))) from error
    except SourceError as error:  # a variable that should hold JSON
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "environment")
        raise SettingsError(f"{field}: {variable((field,))} holds no JSON: {error.__cause__}") from error


def _find(config: Path | None) -> Path | None:
    named = config or (Path(text) if (text := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"config: {named} is no file; name another with --config or {CONFIG_VARIABLE}")
        return named
    return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None


def _read(path: Path) -> tuple[dict[str, Any], dict[_Location, int]]:
    """Return a file's values, and the line of each."""
    try:
        node = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"config: {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: no YAML: {getattr(error, 'problem', None) or error}") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}:1: a mapping of settings is expected, not a {type(values).__name__}")
    return values, dict(_lines(node, ()))


def _lines(node: yaml.Node | None, location: _Location) -> Iterator[tuple[_Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*location, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _lines(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*location, index), value.start_mark.line + 1
            yield from _lines(value, (*location, index))


def _describe(error: ValidationError, path: Path | None, lines: Mapping[_Location, int]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        location: _Location = tuple(part for part in problem["loc"] if part != "[key]")
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            text = "unknown setting" + _suggestion(str(location[-1]), location)
        field = ".".join(map(str, location))
        # A check of several fields names them itself.
        yield (f"{field}: {text}" if field else text) + _origin(location, path, lines)


def _origin(location: _Location, path: Path | None, lines: Mapping[_Location, int]) -> str:
    for end in range(len(location), 0, -1):
        part = location[:end]
        if variable(part) in os.environ:
            return f" ({variable(part)})"
        customary = CUSTOMARY.get(str(part[0]))
        if end == 1 and customary and customary in os.environ:
            return f" ({customary})"
        if part in lines:
            return f" ({path}:{lines[part]})"
    return ""


def _suggestion(name: str, location: _Location) -> str:
    if len(location) > 1:
        return ""
    close = difflib.get_close_matches(name, Settings.model_fields, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _refuse_unknown_variables() -> None:
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name != CONFIG_VARIABLE and not is_known(name):
            known = [variable((field,)) for field in Settings.model_fields]
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else "; unset it"
            raise SettingsError(f"{name}: unknown setting in the environment{hint}")
