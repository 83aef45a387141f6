"""The console's files as they are served: in memory, packed once, each with its entity tag."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct, json

DIST: Final = Path(__file__).parent / "dist"

#: Below it packing saves less than its header costs.
_WORTH_PACKING: Final = 512


class Manifest(Struct, frozen=True, kw_only=True):
    """What ``console/build.mjs`` notes of a build.

    Attributes:
        sources: SHA-256 over the sources; a test compares.
        assets: File names under ``assets/`` by the names without their hashes.
        files: SHA-256 of each file that was made, by its path.
        libraries: Versions of the libraries in the bundle.
    """

    sources: str
    assets: dict[str, str]
    files: dict[str, str]
    libraries: dict[str, str]


class File(Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        body: Its bytes.
        packed: The same, gzipped; None where that is not smaller.
        media: Its media type.
        etag: A strong entity tag of ``body``.
    """

    body: bytes
    packed: bytes | None
    media: str
    etag: str


class Bundle(Struct, frozen=True, kw_only=True):
    """The page, and its assets by file name."""

    index: File
    assets: dict[str, File]


def read_manifest() -> Manifest:
    """Return what the build noted."""
    return json.decode((DIST / "manifest.json").read_bytes(), type=Manifest)


@cache
def bundle() -> Bundle:
    """Return the files that were built; read from the disk once."""
    names = read_manifest().assets.values()
    return Bundle(index=_file(DIST / "index.html"), assets={name: _file(DIST / "assets" / name) for name in names})


def _file(path: Path) -> File:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0)
    media = mimetypes.types_map.get(path.suffix, "application/octet-stream")
    if path.suffix == ".js":
        media = "text/javascript"  # a machine's own table may say otherwise, and then browsers refuse it
    return File(
        body=body,
        packed=packed if len(body) >= _WORTH_PACKING and len(packed) < len(body) else None,
        media=f"{media}; charset=utf-8" if media.startswith(("text/", "image/svg")) else media,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    )
