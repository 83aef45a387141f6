"""Where settings come from: which variable, or which line of which file, set a field."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from schemas.errors import SettingsError

PREFIX: Final = "BARNABAS_"
NESTED: Final = "__"

#: Names that other tools use as well: field to variable.
CUSTOMARY: Final = {
    "bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
    "openai_api_key": "OPENAI_API_KEY",
    "openai_base_url": "OPENAI_BASE_URL",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
}

#: Its fields are librdkafka's names; a variable of a shell has underscores where they have dots.
_DOTTED: Final = "kafka"

#: A field's name and those of what it is within, the outermost first.
Location = tuple[str | int, ...]

#: Merges mappings; a file may hold it more than once.
_MERGE = "tag:yaml.org,2002:merge"


class FieldError(ValueError):
    """A check of a mapping failed because of one of its fields.

    Args:
        location: The field, from the mapping on.
        text: What is wrong with it.
        also: Other fields that the check looked at; where ``location`` itself is not set, one of them is to blame.
    """

    def __init__(self, location: Location, text: str, *also: Location) -> None:
        super().__init__(f"{_dotted(location)}: {text}" if location else text)
        self.text = text
        self.locations = (location, *also)


class Sources(NamedTuple):
    """What the settings were read from, beside the environment.

    Attributes:
        path: The file, if there was one.
        lines: Of each of its fields, from 1.
    """

    path: Path | None = None
    lines: Mapping[Location, int] = {}

    def mistake(self, text: str, *locations: Location) -> SettingsError:
        """Return the error that names the first of these fields, and where it, or else another of them, is set."""
        field = _dotted(locations[0]) if locations else ""
        origin = self.origin(*locations)
        return SettingsError((f"{field}: {text}" if field else text) + (f" ({origin})" if origin else ""))

    def origin(self, *locations: Location) -> str:
        """Return the variable, or file and line, that sets one of the fields or what it is within; empty for none."""
        exact = (self._origin(location) for location in locations)
        around = (self._origin(location[:end]) for location in locations for end in range(len(location) - 1, 0, -1))
        return next(filter(None, (*exact, *around)), "")

    def _origin(self, location: Location) -> str:
        if variable(location) in os.environ:
            return variable(location)
        customary = CUSTOMARY.get(str(location[0])) if len(location) == 1 else None
        if customary and customary in os.environ:
            return customary
        return f"{self.path}:{self.lines[location]}" if location in self.lines else ""


def variable(location: Location) -> str:
    """Return the environment's name of a field, such as ``BARNABAS_LIMITS__MAX_TURNS``."""
    name = PREFIX + NESTED.join(map(str, location)).upper()
    return name.replace(".", "_") if location[0] == _DOTTED else name


def read_file(path: Path) -> tuple[dict[str, Any], Sources]:
    """Return a file's values, and the line of each.

    Raises:
        SettingsError: It cannot be read, is no mapping, or sets a field twice.
    """
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise SettingsError(f"config: {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError(f"{place}: no YAML: {getattr(error, 'problem', None) or error}") from error
    if values is None:
        return {}, Sources(path)
    if not isinstance(values, dict):
        raise SettingsError(f"{path}:1: a mapping of settings is expected, not a {type(values).__name__}")
    lines: dict[Location, int] = {}
    for location, line in _lines(node, ()):
        if location in lines:
            raise SettingsError(f"{_dotted(location)}: set twice, in line {lines[location]} as well ({path}:{line})")
        lines[location] = line
    return values, Sources(path, lines)


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


def _lines(node: yaml.Node | None, location: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            place = (*location, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _lines(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*location, index), value.start_mark.line + 1
            yield from _lines(value, (*location, index))
