"""What a partition's changelog and local tables claim, held against the fold of its log."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from confluent_kafka import Message

from schemas.errors import BarnabasError, StoreError
from schemas.session import PartitionState, Session
from state.audit_report import FindingKind, Tally
from state.audit_tables import LocalTable
from state.fold import FOLD_VERSION
from state.value import PARTITION_KEY, ValueCodec, ValueHeader, header_of

OTHER_VERSION: Final = "value of another fold version"
BEYOND_LOG: Final = "value behind the part of the log that can be folded"
_CHANGELOG: Final = "changelog"
_SHOWN: Final = 80


class Claim(NamedTuple):
    """A value somewhere, and how far it says it is folded."""

    source: str
    folded: int
    value: bytes
    offset: int | None = None


class KeyClaims:
    """Everything that is said of one key."""

    __slots__ = ("best", "is_outdated", "last_folded", "last_offset", "tables")

    def __init__(self) -> None:
        #: The changelog's value that is folded furthest.
        self.best: Claim | None = None
        #: What the last changelog record is folded up to; -1 for a tombstone or none.
        self.last_folded = -1
        self.last_offset = -1
        #: The last changelog record is of another fold version: its owner folds the log again.
        self.is_outdated = False
        self.tables: list[Claim] = []

    @property
    def is_stale(self) -> bool:
        """Whether compaction would leave an older value than there is."""
        return self.best is not None and not self.is_outdated and self.last_folded < self.best.folded


class Claims:
    """One partition's claims.

    First the tables, then the changelog, then the log, each read later than the one before: a table is never ahead of
    the changelog, and the changelog never ahead of the log.
    """

    def __init__(self, partition: int, codec: ValueCodec, tally: Tally) -> None:
        self.partition = partition
        self._codec = codec
        self._tally = tally
        self._tables: list[tuple[LocalTable, dict[bytes, int]]] = []
        self._incomplete: set[tuple[str, bytes]] = set()
        self.keys: dict[bytes, KeyClaims] = {}
        #: The ``folded`` of claims that the fold has not come to yet.
        self._due: dict[bytes, set[int]] = {}

    def add_table(self, table: LocalTable) -> None:
        """Take a local table's values."""
        self._tally.tables += 1
        folded: dict[bytes, int] = {}
        for key, value in table.values.items():
            header = self._header(key, value, f"table of {table.worker}", None)
            if header is None:
                continue
            folded[key] = header.folded
            if header.fold_version != FOLD_VERSION:
                self._tally.unverifiable[OTHER_VERSION] += 1
                continue
            self._claims(key).tables.append(Claim(f"table of {table.worker}", header.folded, value))
        table.values = {}
        self._tables.append((table, folded))

    def add_record(self, message: Message) -> None:
        """Take the next record of the changelog."""
        key, value, offset = message.key(), message.value(), message.offset()
        if not key:
            self._found(FindingKind.FOREIGN_RECORD, "a changelog record without a key", offset=offset)
            return
        claims = self._claims(key)
        claims.last_folded, claims.last_offset, claims.is_outdated = -1, offset, False
        if value is None:
            return
        header = self._header(key, value, _CHANGELOG, offset)
        if header is None:
            return
        claims.last_folded = header.folded
        if header.fold_version != FOLD_VERSION:
            claims.is_outdated = True
            return
        if claims.best is None or header.folded >= claims.best.folded:
            claims.best = Claim(_CHANGELOG, header.folded, value, offset)
        for table, folded in self._tables:
            if offset <= table.position and folded.get(key, -1) < header.folded:
                self._lacks(table.worker, key, offset)

    def _lacks(self, worker: str, key: bytes, offset: int) -> None:
        if (worker, key) not in self._incomplete:
            self._incomplete.add((worker, key))
            detail = f"the table of {worker} is older than the changelog record at an offset it says it holds"
            self._found(FindingKind.TABLE_INCOMPLETE, detail, key=key, offset=offset)

    def check(self) -> None:
        """Compare tables with the changelog; call it when both are read."""
        for key, claims in self.keys.items():
            if claims.is_outdated:
                self._tally.unverifiable[OTHER_VERSION] += 1
            furthest = claims.best.folded if claims.best is not None else -1
            for table in claims.tables:
                if table.folded > furthest and not claims.is_outdated:
                    detail = f"the {table.source} is folded up to {table.folded}, the changelog up to {furthest}"
                    self._found(FindingKind.TABLE_AHEAD, detail, key=key)
            self._due[key] = {claim.folded for claim in (claims.best, *claims.tables) if claim is not None}

    def stale_keys(self) -> list[bytes]:
        """Return the keys whose last changelog record is older than an earlier one."""
        return [key for key, claims in self.keys.items() if claims.is_stale]

    def report_stale(self, keys: list[bytes]) -> None:
        """Report those of ``keys`` that still are; a running owner repairs them within moments."""
        for key in keys:
            claims = self.keys[key]
            if claims.best is not None and claims.is_stale:
                detail = (
                    f"the last changelog record is folded up to {claims.last_folded}, the one at offset "
                    f"{claims.best.offset} up to {claims.best.folded}; compaction would keep the older one"
                )
                self._found(FindingKind.STALE_LAST_RECORD, detail, key=key, offset=claims.last_offset)

    # -- Against the fold

    def lacks(self, key: bytes, offset: int) -> bool:
        """Say whether the changelog does not hold the event applied at ``offset``."""
        claims = self.keys.get(key)
        if claims is None:
            return True
        return not claims.is_outdated and (claims.best is None or claims.best.folded < offset)

    def compare(self, key: bytes, offset: int, folded: Session | PartitionState) -> None:
        """Hold every claim that is folded up to ``offset`` against the fold's result there."""
        due = self._due.get(key)
        if due is None or offset not in due:
            return
        due.discard(offset)
        claims = self.keys[key]
        best = claims.best
        if best is not None and best.folded == offset:
            self._compare(key, best, folded)
        for table in claims.tables:
            if table.folded != offset:
                continue
            if best is not None and table.folded == best.folded and table.value == best.value:
                self._tally.values += 1  # what is said of the changelog's value is said of it
            else:
                self._compare(key, table, folded)

    def _compare(self, key: bytes, claim: Claim, folded: Session | PartitionState) -> None:
        self._tally.values += 1
        if claim.value == self._codec.encode(folded):
            return
        try:
            is_partition = key == PARTITION_KEY
            value = (
                self._codec.decode_partition(claim.value) if is_partition else self._codec.decode_session(claim.value)
            )
        except BarnabasError as exc:
            self._found(FindingKind.FOREIGN_RECORD, f"{claim.source}: {exc}", key=key, offset=claim.offset)
            return
        if value != folded:
            detail = f"{claim.source}, folded up to {claim.folded}: {_difference(value, folded)}"
            self._found(FindingKind.VALUE_DIFFERS, detail, key=key, offset=claim.offset)

    def report_unmatched(self, before: int) -> None:
        """Report claims whose ``folded`` lies before ``before`` and was no applied event; the rest was not reached."""
        for key, due in self._due.items():
            if not due:
                continue
            claims = self.keys[key]
            for claim in (claims.best, *claims.tables):
                if claim is None or claim.folded not in due:
                    continue
                if claim.folded < before:
                    detail = f"{claim.source}: folded up to {claim.folded}, which is no applied event of it"
                    self._found(FindingKind.NOT_IN_LOG, detail, key=key, offset=claim.offset)
                else:
                    self._tally.unverifiable[BEYOND_LOG] += 1

    # -- Helpers

    def _claims(self, key: bytes) -> KeyClaims:
        claims = self.keys.get(key)
        if claims is None:
            claims = self.keys[key] = KeyClaims()
        return claims

    def _header(self, key: bytes, value: bytes, source: str, offset: int | None) -> ValueHeader | None:
        try:
            return header_of(value)
        except StoreError as exc:
            self._found(FindingKind.FOREIGN_RECORD, f"{source}: {exc}", key=key, offset=offset)
            return None

    def _found(self, kind: FindingKind, detail: str, *, key: bytes | None = None, offset: int | None = None) -> None:
        self._tally.found(kind, self.partition, detail, key=key, offset=offset)


def _difference(found: msgspec.Struct, expected: msgspec.Struct) -> str:
    if type(found) is not type(expected):
        return f"a {type(found).__name__}, not a {type(expected).__name__}"
    fields = [name for name in found.__struct_fields__ if getattr(found, name) != getattr(expected, name)]
    return "; ".join(
        f"{name} is {_short(getattr(found, name))}, the log says {_short(getattr(expected, name))}" for name in fields
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
