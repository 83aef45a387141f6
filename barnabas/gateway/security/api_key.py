"""An API key: its form, how one is made, and what settings hold of it."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final, NamedTuple

#: What every key begins with: scanners of repositories and our logs know it by that.
PREFIX: Final = "bk_"
ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")

_SECRET_BYTES: Final = 32
KEY: Final = re.compile(rf"{PREFIX}(?P<id>{ID.pattern})_[0-9a-f]{{{_SECRET_BYTES * 2}}}", re.ASCII)


class NewKey(NamedTuple):
    """A key that was just made.

    Attributes:
        id: Names it in settings and logs.
        key: The whole of it, to be shown once: no copy is kept.
        hash: For the settings.
    """

    id: str
    key: str
    hash: str


def new_key(key_id: str | None = None) -> NewKey:
    """Make a key of 256 random bits.

    Args:
        key_id: Lower-case letters, digits and ``-``, at most 32; random where absent.

    Raises:
        ValueError: The id has another form.
    """
    chosen = secrets.token_hex(4) if key_id is None else key_id
    if not ID.fullmatch(chosen):
        raise ValueError(f"{chosen!r} is no id of a key: at most 32 lower-case letters, digits and '-' within")
    key = f"{PREFIX}{chosen}_{secrets.token_hex(_SECRET_BYTES)}"
    return NewKey(chosen, key, hash_key(key))


def hash_key(key: str) -> str:
    """Return what settings hold of a key.

    One SHA-256 without salt: a key is not a password. It has 256 random bits, so there is nothing to guess, no two are
    alike, and a table of hashes would need more entries than there are atoms. A slow hash would add nothing but a way
    to keep the gateway busy with wrong keys. The id is hashed as well: a hash is of no use under another id.
    """
    return "sha256:" + sha256(key.encode()).hexdigest()
