"""A disk of a worker's own, which can be full: a tmpfs, where this process may mount one (Linux, as root)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

_FREE_KIB: Final = 512 * 1024

#: Left on a full disk, and how much more is tried while the worker writes on.
_LEFT_KIB: Final = 16
_TRIES: Final = 20


class Disk:
    """What lies below a folder, on a file system of its own."""

    def __init__(self, folder: Path) -> None:
        """Mount it; see :attr:`is_mounted`."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.is_mounted = os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", f"size={_FREE_KIB}k", "tmpfs", str(folder))

    def fill(self) -> None:
        """Make it as small as what lies on it: whatever grows now meets ``ENOSPC``.

        Raises:
            OSError: It could not be made smaller.
        """
        for number in range(_TRIES):
            stat = os.statvfs(self._folder)
            used_kib = (stat.f_blocks - stat.f_bfree) * stat.f_frsize // 1024
            if self._resize(used_kib + _LEFT_KIB * (number + 1)):
                return
        msg = f"{self._folder} cannot be filled"
        raise OSError(msg)

    def free(self) -> None:
        """Give it room again."""
        self._resize(_FREE_KIB)

    def close(self) -> None:
        """Unmount it; what lies on it stays in the folder."""
        if not self.is_mounted:
            return
        kept = self._folder.with_suffix(".kept")
        shutil.copytree(self._folder, kept)
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)
        self.is_mounted = False
        self._folder.rmdir()
        kept.rename(self._folder)

    def _resize(self, kib: int) -> bool:
        return _mount("-o", f"remount,size={kib}k", str(self._folder))


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
