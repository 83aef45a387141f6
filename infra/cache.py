"""The platform's cache folder, and a lock that holds over processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path


def default_cache_dir() -> Path:
    """Return where jars and archives are kept when nothing else is said; it may not exist yet."""
    return user_cache_path("barnabas")


@contextmanager
def file_lock(path: Path, *, is_waiting: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on ``path``; the kernel releases it when the process dies.

    Args:
        path: The lock file; it is made and never removed.
        is_waiting: Wait for another holder, else give up at once.

    Yields:
        Whether the lock is held (always, when waiting).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
