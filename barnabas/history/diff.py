"""What became of a session between two moments."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from schemas.session import MemoryEntry, Session


class SessionDiff(Struct, frozen=True, kw_only=True):
    """Two states of a session and what differs.

    Attributes:
        before: The earlier state.
        after: The later one.
        added: Memory entries that are new.
        removed: Memory entries that are gone: compacted or erased.
        changed: Other fields that differ, by name: ``(before, after)`` as plain values.
    """

    before: Session
    after: Session
    added: tuple[MemoryEntry, ...]
    removed: tuple[MemoryEntry, ...]
    changed: dict[str, tuple[Any, Any]]


def diff(before: Session, after: Session) -> SessionDiff:
    """Compare two states of a session."""
    old, new = {entry.seq: entry for entry in before.memory}, {entry.seq: entry for entry in after.memory}
    changed = {
        name: (msgspec.to_builtins(getattr(before, name)), msgspec.to_builtins(getattr(after, name)))
        for name in Session.__struct_fields__
        if name != "memory" and getattr(before, name) != getattr(after, name)
    }
    return SessionDiff(
        before=before,
        after=after,
        added=tuple(entry for seq, entry in new.items() if old.get(seq) != entry),
        removed=tuple(entry for seq, entry in old.items() if new.get(seq) != entry),
        changed=changed,
    )
