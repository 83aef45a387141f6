"""Table = fold of the log = changelog: every value that was ever written, and the last one of each session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.serdes import Codec
from tests.chaos.case import Case
from tests.chaos.evidence import Database
from tests.chaos.memory_fold import picture_of, table_value
from tests.support.checker import wire_codec
from tests.support.topic_reader import Read

#: First bytes of keys that are no session's: a partition's own record, and Faust's changelog position.
_OWN_KEYS: Final = (b"\x00", b"__faust")


def check_changelog(case: Case) -> None:
    """Every value was once right; the last one written of each session is the fold's last."""
    codec, verdict = wire_codec(), case.verdict
    last: dict[bytes, Read] = {}
    for read in case.evidence.of(case.evidence.names.changelog):
        if read.key is None or read.key.startswith(_OWN_KEYS):
            continue
        if read.value is None:
            verdict.fault("changelog", f"a tombstone of {read.key!r} at {read.partition}@{read.offset}")
            continue
        last[read.key] = read
        _check_value(case, codec, read.key, read.value, f"changelog {read.partition}@{read.offset}")
    values = {key: read.value for key, read in last.items() if read.value is not None}
    for session, memory in case.table.sessions.items():
        folded = _folded(values, session)
        if folded != memory.folded:
            verdict.fault("changelog", f"last value of {session}: folded up to {folded}, the log up to {memory.folded}")


def check_databases(case: Case) -> None:
    """What a worker has on disk was once right; what the last owner has is the fold's last."""
    codec, verdict = wire_codec(), case.verdict
    verdict.databases = len(case.evidence.databases)
    for database in case.evidence.databases:
        where = f"{database.worker}/{database.path.name}"
        if database.error and _is_excused(case, database):
            verdict.excused.append(database.path)
        elif database.error:
            verdict.fault("table", f"{where} cannot be read: {database.error}")
        if database.values is None:
            continue
        for key, value in database.values.items():
            if not key.startswith(_OWN_KEYS):
                _check_value(case, codec, key, value, where)
        if not database.error and case.log.owners.get(database.partition) == database.worker:
            _check_complete(case, database.partition, database.values, where)


def _is_excused(case: Case, database: Database) -> bool:
    """Whether nobody had to notice the damage: not opened since, or open and the damaged part never read."""
    if database.damaged_at is None:
        return False
    opened_at = case.opened_at.get((database.worker, database.partition), 0.0)
    return database.values is not None or opened_at < database.damaged_at


def _check_complete(case: Case, partition: int, values: Mapping[bytes, bytes], where: str) -> None:
    for session, memory in case.table.sessions.items():
        if case.partition_of(session) == partition and _folded(values, session) != memory.folded:
            text = f"{where}: session {session} folded up to {_folded(values, session)}, the log up to {memory.folded}"
            case.verdict.fault("table", text)


def _folded(values: Mapping[bytes, bytes], session: str) -> int:
    raw = values.get(session.encode())
    return table_value(raw).folded if raw is not None else -1


def _check_value(case: Case, codec: Codec, key: bytes, value: bytes, where: str) -> None:
    session = key.decode(errors="replace")
    try:
        picture = picture_of(value, codec)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the value is none
        case.verdict.fault("table", f"{where}: session {session}: {error!r}")
        return
    if not case.table.is_moment(session, picture):
        case.verdict.fault("table", f"{where}: session {session} was never so: {picture}")
