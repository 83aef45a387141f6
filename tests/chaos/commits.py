"""Commits never pass what is not done: each sample of the run against what the topics held a moment later."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from typing import Any

from schemas.ids import turn_id_for
from tests.chaos.case import Case, Proof
from tests.chaos.memory_fold import TableFold, table_value
from tests.support.checker import fold_log
from tests.support.topic_reader import Read

#: By partition: offsets, ascending, each with what proves it done; None where nothing does.
_Proofs = dict[int, list[tuple[int, Proof | None]]]


def check_commits(case: Case) -> None:
    """Messages: below a commit each has its proof. Events: below it each is in the changelog, folded so far.

    Controls: below it each cancel's message has its outcome, or the cancel was kept for as long as it had to be.
    """
    names = case.evidence.names
    case.verdict.samples = len(case.evidence.samples)
    messages: _Proofs = defaultdict(list)
    for message in case.messages:
        messages[message.read.partition].append((message.read.offset, case.proof_of(message)))
    _check(case, names.messages, messages)
    _check(case, names.events, _proofs_of_events(case))
    _check_controls(case)


def _proofs_of_events(case: Case) -> _Proofs:
    names = case.evidence.names
    written: dict[str, list[tuple[int, Proof]]] = defaultdict(list)  # each session's values, each newer than the last
    for read in case.evidence.of(names.changelog):
        if read.key is None or read.value is None:
            continue
        value, values = table_value(read.value), written[read.key.decode(errors="replace")]
        if value.is_session and (not values or value.folded > values[-1][0]):
            values.append((value.folded, Proof(names.changelog, read.partition, read.offset)))
    proofs: _Proofs = defaultdict(list)
    table = TableFold()

    def folded(offset: int, event: Any) -> None:
        table.apply(offset, event)
        if table.sessions[event.session_id].folded == offset:  # else it was without effect
            values = written[event.session_id]
            while values and values[0][0] < offset:
                values.pop(0)
            proofs[case.partition_of(event.session_id)].append((offset, values[0][1] if values else None))

    fold_log(case.evidence.of(names.events), names.events, on_accepted=folded)
    return proofs


def _check(case: Case, topic: str, proofs: _Proofs) -> None:
    proved: Counter[int] = Counter()  # what one sample has shown, later ones need not show again
    for sample in case.evidence.samples:
        for partition, wanted in proofs.items():
            committed = sample.committed.get((topic, partition), 0)
            while proved[partition] < len(wanted) and wanted[proved[partition]][0] < committed:
                offset, proof = wanted[proved[partition]]
                proved[partition] += 1
                if proof is None or proof.offset >= sample.ends[proof.topic, proof.partition]:
                    text = f"{topic}-{partition}: {committed} committed, {offset} not done, proof {proof}"
                    case.verdict.fault("commit", text)


def _check_controls(case: Case) -> None:
    """A cancel that comes before its message waits for it; by its end, in time, and no other way, is it done with."""
    topic, kept_ms = case.evidence.names.control, case.evidence.cancel_kept_s * 1000
    wanted: dict[int, list[tuple[Read, Proof | None]]] = defaultdict(list)
    for read in case.evidence.of(topic):
        target = json.loads(read.value or b"{}")["message_id"]
        turn_id = turn_id_for((read.key or b"").decode(), target)
        wanted[read.partition].append((read, case.proof_of_outcome(turn_id)))
    for partition, reads in wanted.items():
        waiting = deque(reads)
        for sample in case.evidence.samples:
            committed = sample.committed.get((topic, partition), 0)
            while waiting and waiting[0][0].offset < committed:
                read, proof = waiting.popleft()
                is_decided = proof is not None and proof.offset < sample.ends[proof.topic, proof.partition]
                if not is_decided and sample.at * 1000 - read.timestamp_ms < kept_ms:
                    text = f"{topic}-{partition}: {committed} committed, {read.offset} not done, proof {proof}: {read}"
                    case.verdict.fault("commit", text)
