"""Reads the settings: finds ``barnabas.yaml``, lays the environment above it, and says where a mistake stands."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import PydanticBaseSettingsSource
from pydantic_settings import SettingsError as SourceError

from barnabas.settings import Settings, is_known
from barnabas.sources import CUSTOMARY, PREFIX, FieldError, Location, Sources, read_file, variable
from infra.bootstrap import resolve_bootstrap_servers
from schemas.errors import BrokerError, SettingsError

CONFIG_VARIABLE = "BARNABAS_CONFIG"
FILE_NAME = "barnabas.yaml"

#: Stands for a secret.
MASK = "********"

_SECRET_WORDS = ("password", "secret", "passphrase", "api_key", "sasl.jaas", "oauthbearer.config", ".pem")
_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@")


def load_settings(config: Path | None = None) -> Settings:
    """Return the settings: ``BARNABAS_*`` variables, then customary names, the file, the defaults.

    Args:
        config: The file; else ``BARNABAS_CONFIG``, else ``barnabas.yaml`` in the current directory if it is there.

    Raises:
        SettingsError: A setting is unknown or impossible; the text names field, file and line, or variable.
    """
    return _load(config)[0]


class Setting(NamedTuple):
    """One setting as it is in force.

    Attributes:
        field: Its name, nested ones joined by dots.
        value: What JSON can say; a secret is masked.
        origin: ``default``, the variable, or file and line.
    """

    field: str
    value: Any
    origin: str


def effective_settings(config: Path | None = None) -> tuple[Path | None, list[Setting]]:
    """Return the file that was read, if any, and every setting in force with where it comes from.

    Raises:
        SettingsError: As :func:`load_settings`.
    """
    settings, sources = _load(config)
    found = [
        Setting(".".join(map(str, location)), masked(location, value), _source(location, sources))
        for location, value in _leaves((), settings)
    ]
    return sources.path, found


def _load(config: Path | None) -> tuple[Settings, Sources]:
    _refuse_unknown_variables()
    path = _find(config)
    values, sources = read_file(path) if path is not None else ({}, Sources())
    for field, name in CUSTOMARY.items():
        if text := os.environ.get(name, "").strip():
            values[field] = text
    try:
        return Settings(**values).read_from(sources), sources
    except ValidationError as error:
        raise _refusal(error, sources) from error
    except SourceError as error:  # a variable that should hold JSON
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "environment")
        raise SettingsError(f"{field}: {variable((field,))} holds no JSON: {error.__cause__}") from error


def with_overrides(settings: Settings, **overrides: Any) -> Settings:
    """Return the settings with what a program says in its own words, above file and environment; None says nothing.

    Raises:
        SettingsError: A value is impossible, or there is no such setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        checked = _Explicit(**given)
    except ValidationError as error:
        raise _refusal(error, Sources()) from error
    return settings.model_copy(update={name: getattr(checked, name) for name in given})


class _Explicit(Settings):
    """Settings of which no file and no variable is asked."""

    @classmethod
    def settings_customise_sources(cls, *_args: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        return (sources["init_settings"],)


def bootstrap_servers_of(settings: Settings) -> str:
    """Return the address of Kafka: the one that is set, or the embedded broker's that runs.

    Raises:
        BrokerError: There is neither.
    """
    servers = resolve_bootstrap_servers(settings.broker_dir, configured=settings.bootstrap_servers, environ={})
    if servers is None:
        raise BrokerError(
            f"no Kafka: bootstrap_servers is not set and no broker runs in {settings.broker_dir}; "
            "set KAFKA_BOOTSTRAP_SERVERS, or run: barnabas broker start"
        )
    return servers


def _find(config: Path | None) -> Path | None:
    named = config or (Path(text) if (text := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"config: {named} is no file; name another with --config or {CONFIG_VARIABLE}")
        return named
    return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None


def _refusal(error: ValidationError, sources: Sources) -> SettingsError:
    return SettingsError("; ".join(str(mistake) for mistake in _mistakes(error, sources)))


def _mistakes(error: ValidationError, sources: Sources) -> Iterator[SettingsError]:
    for problem in error.errors(include_url=False, include_input=False):
        location: Location = tuple(part for part in problem["loc"] if part != "[key]")
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            text = "unknown setting" + _suggestion(str(location[-1]), location)
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):
            yield sources.mistake(cause.text, *((*location, *inner) for inner in cause.locations))
        else:
            yield sources.mistake(text, location)


def _leaves(location: Location, value: Any) -> Iterator[tuple[Location, Any]]:
    """Yield every single setting below a value; an empty mapping is one."""
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, dict) and value:
        fields = value
    else:
        yield location, value
        return
    for name, inner in fields.items():
        yield from _leaves((*location, name), inner)


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds what nobody may see."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def masked(location: Location, value: Any) -> Any:
    """Return a setting's value as it may be shown: never a secret, never the credentials in an address."""
    if isinstance(value, SecretStr) or (value is not None and is_secret(str(location[-1]))):
        return MASK
    if isinstance(value, str):
        return _CREDENTIALS.sub(rf"\g<scheme>{MASK}@", value)
    return str(value) if isinstance(value, Path) else value


def _source(location: Location, sources: Sources) -> str:
    """Say what set exactly this field: where a whole mapping is given, its other fields are still defaults."""
    own = sources.origin(location)
    if location in sources.lines or own in {variable(location), CUSTOMARY.get(str(location[0]))}:
        return own
    for end in range(1, len(location)):
        given: Any = _json(os.environ.get(variable(location[:end]), "null"))
        for part in location[end:]:
            given = given.get(part) if isinstance(given, dict) else None
        if given is not None:
            return variable(location[:end])
    return "default"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _suggestion(name: str, location: Location) -> str:
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
