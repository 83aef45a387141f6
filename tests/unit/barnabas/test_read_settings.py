"""``reads`` in the settings: nothing that others could read without being asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabas.composition import worker_options
from barnabas.configuration import load_settings
from schemas.errors import SettingsError

SECRET = "0123456789abcdef"


def load(folder: Path, *lines: str) -> object:
    """Load a file with these lines under ``reads``."""
    path = folder / "barnabas.yaml"
    path.write_text("reads:\n" + "".join(f"  {line}\n" for line in lines))
    return load_settings(path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("host: 10.0.0.7",), "reads.secret"),
        (("host: 0.0.0.0", f"secret: {SECRET}"), "reads.url"),
        (("url: worker:1",), "reads.url"),
        (("secret: short",), "reads.secret"),
        (("port: 70000",), "reads.port"),
    ],
)
def test_unsafe_settings_are_refused_with_field_and_line(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    """Before anything starts."""
    with pytest.raises(SettingsError, match=f"{said}.*barnabas.yaml:2"):
        load(tmp_path, *lines)


def test_secret_reaches_the_worker_and_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment as well."""
    monkeypatch.setenv("BARNABAS_READS__SECRET", SECRET)
    settings = load_settings(None)
    options = worker_options(settings, "127.0.0.1:9092", reads_port=9465).reads
    assert options.secret is not None
    assert (options.secret.get_secret_value(), options.port) == (SECRET, 9465)
    assert SECRET not in f"{settings!r} {settings} {options!r}"
