"""The audit behind ``barnabas doctor``: table = fold of the log = changelog, and no acknowledged message without end.

It shares the pure fold with the projector by design (design.md, part 3); what it holds against the fold it reads
itself, read-only, while workers may be running. Each thing is read later than what depends on it (committed offsets,
local tables, changelog, log), so that a worker's progress meanwhile is never taken for a fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.serdes import Codec
from state.audit_messages import Reroutes
from state.audit_partition import AuditScope, PartitionAudit
from state.audit_reader import AuditReader
from state.audit_rebuild import RebuildReport, rebuild
from state.audit_report import AuditReport, Finding, FindingKind, Tally
from topics.names import TopicNames
from topics.partitioner import partition_for

__all__ = ["AuditReport", "Finding", "FindingKind", "RebuildReport", "audit", "rebuild"]

#: ``(records read, records to be read)``; the second grows while an audit learns what there is.
OnProgress = Callable[[int, int], None]


def audit(
    bootstrap_servers: str,
    names: TopicNames,
    *,
    client_config: Mapping[str, object] | None = None,
    codec: Codec | None = None,
    data_dir: Path | None = None,
    session: str | None = None,
    partition: int | None = None,
    on_progress: OnProgress | None = None,
) -> AuditReport:
    """Compare log, changelog and local tables, and each message with its outcome. Blocking; writes nothing.

    One partition is in memory at a time: its sessions, folded, and its values in changelog and local tables.

    Args:
        bootstrap_servers: ``host:port`` list, comma separated.
        names: The deployment's topics.
        client_config: Further librdkafka settings (TLS, SASL).
        codec: Shared, where there is one with a registry.
        data_dir: The deployment's data folder on this machine; without it no local table is read.
        session: Key of the one session to look at (``tenant/session_id`` where tenants are used).
        partition: Number of the one partition to look at.
        on_progress: Hears of records read.

    Raises:
        RecoveryError: A topic does not exist, or the broker stopped answering.
        KafkaException: The broker cannot be reached or refuses.
    """
    began = time.monotonic()
    progress = _Progress(on_progress)
    with AuditReader(bootstrap_servers, names.group_id, client_config, progress.advance) as reader:
        count = reader.partition_count(names.events)
        only = session.encode() if session is not None else None
        if only is not None:
            partition = partition_for(only, count)
        numbers = [partition] if partition is not None else [*range(count)]
        scope = AuditScope(reader, names, codec or Codec(), count, only, data_dir, progress.expect, Tally())
        messages_committed = reader.committed(names.messages, numbers)
        # A misplaced message has to be found on another partition: only where all are looked at.
        reroutes = None
        if session is None and len(numbers) == count:
            ranges = {number: reader.watermarks(names.messages, number) for number in numbers}
            reroutes = Reroutes(names.messages, ranges)
        for number in numbers:
            events_committed = reader.committed(names.events, [number])[number]
            PartitionAudit(scope, number, events_committed, messages_committed[number], reroutes).run()
        if reroutes is not None:
            reroutes.check(scope.tally)
    return scope.tally.report(partitions=len(numbers), seconds=time.monotonic() - began)


class _Progress:
    def __init__(self, listener: OnProgress | None) -> None:
        self._listener = listener
        self._read = self._total = 0

    def expect(self, records: int) -> None:
        self._total += records

    def advance(self, records: int) -> None:
        self._read += records
        if self._listener is not None:
            self._listener(self._read, max(self._read, self._total))
