"""Kafka's jars: pinned, fetched once from Maven Central by ``jgo``, checked, cached."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from infra.cache import default_cache_dir, file_lock
from schemas.errors import BrokerError

_PINS = Path(__file__).with_name("kafka_jars.json")
_AT_ONCE = 8
_ATTEMPTS = 3
_TIMEOUT_S = 30

ProgressCallback = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar.

    Args:
        coordinate: Maven's ``group:artifact:version``.
        sha256: Of its bytes, in hex.
        size: In bytes.
    """

    coordinate: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """``artifact-version.jar``."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Pins:
    """All jars of one Kafka version."""

    kafka_version: str
    jars: tuple[Jar, ...]


@cache
def pinned() -> Pins:
    """Return the pins that ship with this package (made by ``python -m infra.pin_jars``)."""
    content = json.loads(_PINS.read_text())
    return Pins(content["kafka_version"], tuple(Jar(**jar) for jar in content["jars"]))


def ensure_jars(
    cache_dir: Path | None = None, *, pins: Pins | None = None, repository: str | None = None
) -> tuple[Path, ...]:
    """Return the jars' paths, fetching what is missing; progress goes to stderr.

    A jar gets its name only after its sha256 was checked, so what is there is whole. Several processes may call this
    at once: one fetches, the others wait.

    Args:
        cache_dir: Where they are kept, below ``kafka-<version>``; the platform's cache folder unless given.
        pins: Which jars; those of this package unless given.
        repository: Another Maven repository's URL instead of Maven Central's.

    Raises:
        BrokerError: A jar cannot be had, or is not the one that was pinned.
    """
    pins = pins or pinned()
    folder = (cache_dir or default_cache_dir()) / f"kafka-{pins.kafka_version}"
    if _missing(folder, pins):
        with file_lock(folder / ".lock"):
            if missing := _missing(folder, pins):  # nobody else fetched them while we waited
                _fetch_all(folder, missing, pins.kafka_version, repository)
    return tuple(folder / jar.filename for jar in pins.jars)


def _missing(folder: Path, pins: Pins) -> list[Jar]:
    def is_there(path: Path, size: int) -> bool:
        try:
            return path.stat().st_size == size
        except OSError:
            return False

    return [jar for jar in pins.jars if not is_there(folder / jar.filename, jar.size)]


def _fetch_all(folder: Path, jars: list[Jar], version: str, repository: str | None) -> None:
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch,
        _progress(f"Kafka {version}", sum(jar.size for jar in jars)) as callback,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        context = _maven(Path(scratch), repository, callback)
        try:
            # Largest first: the last one to arrive is then a small one.
            for fetched in [
                pool.submit(_fetch, context, jar, folder) for jar in sorted(jars, key=lambda jar: -jar.size)
            ]:
                fetched.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(context: Any, jar: Jar, folder: Path) -> None:
    """Fetch one jar, check it, and give it its name."""
    group, artifact, version = jar.coordinate.split(":")
    wanted = context.project(group, artifact).at_version(version).artifact()
    for attempt in range(_ATTEMPTS):
        try:
            path = Path(wanted.resolve())
            break
        # jgo lets requests' errors through and raises bare RuntimeError and AssertionError of its own.
        except Exception as error:
            # A broken-off download leaves its beginning behind, which jgo would take for the whole.
            Path(wanted.cached_path).unlink(missing_ok=True)
            if attempt + 1 == _ATTEMPTS:
                message = (
                    f"cannot fetch Kafka's {jar.filename} ({_short(error)}): check the network connection and try "
                    "again, or set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"
                )
                raise BrokerError(message) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        message = (
            f"{jar.filename} is not the file that was pinned (sha256 {digest}, not {jar.sha256}); nothing of it is "
            "kept: something between here and the repository replaces files, try again from another network"
        )
        raise BrokerError(message)
    shutil.move(path, folder / jar.filename)  # same file system: an atomic rename


def _maven(scratch: Path, repository: str | None, callback: ProgressCallback) -> Any:
    from jgo.maven import MavenContext, PythonResolver

    return MavenContext(
        resolver=PythonResolver(progress_callback=callback),
        repo_cache=scratch,
        remote_repos={"central": repository} if repository else None,
        timeout=_TIMEOUT_S,
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


@contextmanager
def _progress(what: str, total: int) -> Iterator[ProgressCallback]:
    """Yield jgo's progress callback: one bar over all jars on a terminal, one line elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)  # stdout belongs to --json
    if not sys.stderr.isatty():
        console.print(f"fetching {what} ({total / 1e6:.0f} MB, once)", highlight=False)
    columns = (TextColumn("fetching {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(what, total=total)

        @contextmanager
        def callback(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
            yield lambda count: bar.advance(task, count)

        yield callback
