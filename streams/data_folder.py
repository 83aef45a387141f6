"""A worker's own folder on its machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from schemas.errors import StoreError

_MAX_WORKERS_A_HOST: Final = 256


class DataFolder:
    """A worker's own folder, locked for as long as it runs (T3: one folder a worker)."""

    def __init__(self, data_dir: Path, name: str) -> None:
        """Lock the named folder, or the first free one.

        Raises:
            StoreError: Another worker holds it.
        """
        names = [name] if name else [f"worker-{number}" for number in range(1, _MAX_WORKERS_A_HOST + 1)]
        for candidate in names:
            path = data_dir / "workers" / candidate
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self.path, self.name, self._lock = path, candidate, lock
            return
        msg = f"{data_dir / 'workers' / names[0]} is in use by another worker; give this one another --name"
        raise StoreError(msg)

    def release(self) -> None:
        """Unlock it."""
        os.close(self._lock)
