"""From a model string to its provider; a provider's module is imported when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from schemas.errors import SettingsError
from streams.providers.protocol import Provider, Timeouts

_KNOWN = "local, echo, echo:TOKENS, echo:TOKENS@SECONDS, scripted, scripted:PATH, openai:NAME, anthropic:NAME"

#: The kinds of model that can be given tools.
TAKES_TOOLS = frozenset({"openai", "anthropic", "scripted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """What providers need besides the model string; None: the provider's own default, or no key."""

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    calls_path: Path | None = None
    """Where ``scripted`` appends its calls; over the script's own ``calls_path``."""


def create_provider(model: str, options: ProviderOptions | None = None) -> Provider:
    """Create the provider that ``model`` (the value of ``BARNABAS_MODEL``) names; nothing is opened yet.

    Raises ``SettingsError`` with the field's name for an unknown model, a missing key, name or script.
    """
    options = options or ProviderOptions()
    kind, has_rest, rest = model.partition(":")
    if kind in {"echo", "scripted", "openai", "anthropic"} and has_rest and not rest:
        raise SettingsError(f"BARNABAS_MODEL: {model!r} lacks what comes after the colon; known are {_KNOWN}")
    match kind:
        case "local" if not has_rest:
            return _local()
        case "echo":
            return _echo(rest)
        case "scripted":
            return _scripted(rest, options)
        case "openai" if rest:
            return _openai(rest, options)
        case "anthropic" if rest:
            return _anthropic(rest, options)
    raise SettingsError(f"BARNABAS_MODEL: unknown model {model!r}; known are {_KNOWN}")


def _local() -> Provider:
    from streams.providers.local import LocalProvider

    return LocalProvider()


def _echo(rest: str) -> Provider:
    from streams.providers.echo import EchoProvider

    return EchoProvider.from_options(rest) if rest else EchoProvider()


def _scripted(rest: str, options: ProviderOptions) -> Provider:
    from streams.providers.scripted import ScriptedProvider, load_script

    return ScriptedProvider(load_script(Path(rest)) if rest else None, calls_path=options.calls_path)


def _openai(name: str, options: ProviderOptions) -> Provider:
    from streams.providers.openai import OpenAIProvider

    return OpenAIProvider(
        name, api_key=options.openai_api_key, base_url=options.openai_base_url, timeouts=options.timeouts
    )


def _anthropic(name: str, options: ProviderOptions) -> Provider:
    from streams.providers.anthropic import AnthropicProvider

    if options.anthropic_api_key is None:
        raise SettingsError(f"ANTHROPIC_API_KEY: not set, and anthropic:{name} needs it; set it or use another model")
    return AnthropicProvider(
        name,
        api_key=options.anthropic_api_key,
        base_url=options.anthropic_base_url,
        timeouts=options.timeouts,
    )
