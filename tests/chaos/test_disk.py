"""A full disk is full: the real error, and room again afterwards."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.chaos.disk import Disk


def test_disk_full_nothing_grows_until_it_is_free_again(tmp_path: Path) -> None:
    """``ENOSPC`` while it is full; what was written stays when the disk is gone."""
    disk = Disk(tmp_path / "data")
    if not disk.is_mounted:
        pytest.skip("no right to mount a tmpfs")
    file = tmp_path / "data" / "file"
    try:
        file.write_bytes(b"x" * 50_000)
        disk.fill()
        with pytest.raises(OSError, match="No space left") as error:
            file.with_name("more").write_bytes(b"x" * 100_000)
        assert error.value.errno == errno.ENOSPC
        disk.free()
        file.with_name("more").write_bytes(b"y" * 100_000)
    finally:
        disk.close()
    assert file.read_bytes() == b"x" * 50_000
    assert not file.parent.is_mount()
