"""The audit on a real broker: clean where all is well, and one finding of the right kind for each thing broken.

Every finding's test is also its mutant's: what it breaks is what the check is there for, so that a check switched off
leaves ``counts`` empty and the test fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from schemas.dead_letters import DeadLetter
from schemas.framing import SINGLE_OBJECT_MARK
from schemas.headers import FIRST_SEEN
from schemas.session import Session
from state.audit import FindingKind
from state.fold import FOLD_VERSION, RECENT_DECISIONS
from state.value import PARTITION_KEY
from tests.functional.state.stores import of_version
from tests.integration.state.deployments import CODEC, VALUES, Deployment, kinds
from tests.unit.state.session_logs import Folded, PartitionLog, fold_all
from topics.partitioner import partition_for

TURNS = [("complete", "s1"), ("complete", "s1"), ("complete", "s2"), ("step", "s2"), ("complete", "s2")]


def new_log(script: list[tuple[str, str]] | None = None) -> PartitionLog:
    """A log whose offsets are those of a topic of its own."""
    log = PartitionLog(first_offset=0, message_step=1)
    log.open()
    for action, session_id in TURNS if script is None else script:
        log.act(action, session_id)
    return log


def sound(deployment: Deployment, log: PartitionLog | None = None) -> tuple[PartitionLog, Folded]:
    """Write a deployment in which all is well, everything acknowledged."""
    log = log or new_log()
    folded = deployment.write_log(log)
    deployment.write_changelog(deployment.values(folded).items())
    deployment.commit(log.next_offset, len(log.messages))
    return log, folded


def test_audit_of_a_sound_deployment_is_clean(deployment: Deployment) -> None:
    """Log, changelog, a worker's running store, messages: all counted, nothing found, and it is plain data."""
    log, folded = sound(deployment)
    store = deployment.store()
    store.own({0})
    store.write(0, deployment.values(folded), 2)  # stays open: a running worker's
    progress: list[tuple[int, int]] = []
    report = deployment.audit(on_progress=lambda read, total: progress.append((read, total)))
    store.own(set())

    assert report.findings == ()
    assert (report.is_clean, report.lag, report.unverifiable) == (True, 0, {})
    assert (report.sessions, report.values, report.tables) == (2, 6, 1)
    assert (report.events, report.messages) == (len(log.records), len(log.messages))
    assert progress[-1][0] == progress[-1][1]
    assert json.loads(json.dumps(report.as_dict()))["is_clean"] is True


def test_audit_of_a_deployment_that_lags_is_clean_and_says_so(deployment: Deployment) -> None:
    """What is not acknowledged is no loss. Older values are held against the fold at their own place."""
    log = new_log()
    deployment.write_log(log)
    halfway = fold_all(log.records[:3])
    deployment.write_changelog(deployment.values(halfway).items())
    deployment.commit(log.records[3].offset, 1)
    report = deployment.audit()

    assert report.findings == ()
    assert (report.lag_events, report.lag_messages) == (len(log.records) - 3, len(log.messages) - 1)
    assert report.values == 2


def test_audit_of_an_empty_deployment_is_clean(deployment: Deployment) -> None:
    """Nothing committed, nothing written."""
    report = deployment.audit()

    assert (report.is_clean, report.sessions, report.lag) == (True, 0, 0)


def other_value(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """Another value at the right place."""
    session = folded.sessions["s1"]
    forged = Session(session_id="s1", folded=session.folded, epoch=session.epoch, summary="forged")
    deployment.write_changelog([(b"s1", VALUES.encode(forged))])


def beyond_its_events(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """A value that says it is folded up to another session's event."""
    deployment.write_changelog([(b"s1", VALUES.encode(Session(session_id="s1", folded=log.records[4].offset)))])


def late_record(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """A zombie's older value behind the owner's."""
    older = fold_all(log.records[:2])
    deployment.write_changelog([(b"s1", VALUES.encode(older.sessions["s1"]))])


def tombstone(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """A foreign tombstone."""
    deployment.write_changelog([(b"s1", None)])


def foreign_record(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """Bytes that are no value."""
    deployment.write_changelog([(b"s9", b"junk")])


def lost_changelog(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """An acknowledged event whose value never came to the changelog."""
    log.act("complete", "s3")
    event = log.records[-1].event
    deployment.produce(deployment.names.events, [(b"s3", CODEC.encode(event))])
    deployment.commit(log.next_offset, len(log.messages) - 1)


def unanswered(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """An acknowledged message without an outcome."""
    deployment.produce(deployment.names.messages, [(b"s1", b'{"text": "?"}')])
    deployment.commit(log.next_offset, len(log.messages) + 1)


def undecodable(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """An acknowledged message that nobody can read, without a dead letter."""
    deployment.produce(deployment.names.messages, [(b"s1", b"\xff")])
    deployment.commit(log.next_offset, len(log.messages) + 1)


def answered_twice(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """One message, two accepted outcomes: in two sessions, since the fold of one cannot be brought to it."""
    log.messages[-1].session_id = "s8"
    log.lane("s8").waiting.append(log.messages[-1])
    log.act("complete", "s8")
    log.act("complete", "s8")
    deployment.produce(deployment.names.events, ((b"s8", CODEC.encode(event)) for _, event in log.records[-2:]))


def table_ahead(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """T1: RocksDB written before the changelog, and a crash in between."""
    log.act("complete", "s1")
    deployment.produce(deployment.names.events, [(b"s1", CODEC.encode(log.records[-1].event))])
    store = deployment.store()
    store.own({0})
    store.write(0, deployment.values(fold_all(log.records)), 2)
    store.own(set())


def table_behind_its_position(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """S2: the persisted offset jumped over a record."""
    store = deployment.store()
    store.own({0})
    store.write(0, {key: value for key, value in deployment.values(folded).items() if key != b"s2"}, 2)
    store.own(set())


def table_differs(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """Another value in a local table."""
    store = deployment.store("worker-2")
    store.own({0})
    session = folded.sessions["s1"]
    store.write(0, {b"s1": VALUES.encode(Session(session_id="s1", folded=session.folded, turns=99))}, None)
    store.own(set())


def unreadable_table(deployment: Deployment, log: PartitionLog, folded: Folded) -> None:
    """A local table that no longer opens."""
    store = deployment.store()
    store.own({0})
    store.own(set())
    (deployment.data_dir / "workers/worker-1/v1/tables/sessions-0.db/CURRENT").write_text("nonsense\n")


@pytest.mark.parametrize(
    ("break_it", "kind", "session"),
    [
        (other_value, FindingKind.VALUE_DIFFERS, "s1"),
        (beyond_its_events, FindingKind.NOT_IN_LOG, "s1"),
        (late_record, FindingKind.STALE_LAST_RECORD, "s1"),
        (tombstone, FindingKind.STALE_LAST_RECORD, "s1"),
        (foreign_record, FindingKind.FOREIGN_RECORD, "s9"),
        (lost_changelog, FindingKind.LOST_EVENT, "s3"),
        (unanswered, FindingKind.MISSING_OUTCOME, "s1"),
        (undecodable, FindingKind.MISSING_OUTCOME, "s1"),
        (answered_twice, FindingKind.TWO_OUTCOMES, "s8"),
        (table_ahead, FindingKind.TABLE_AHEAD, "s1"),
        (table_behind_its_position, FindingKind.TABLE_INCOMPLETE, "s2"),
        (table_differs, FindingKind.VALUE_DIFFERS, "s1"),
        (unreadable_table, FindingKind.UNREADABLE_TABLE, None),
    ],
)
def test_audit_of_one_broken_promise_finds_just_it(
    deployment: Deployment,
    break_it: Callable[[Deployment, PartitionLog, Folded], None],
    kind: FindingKind,
    session: str | None,
) -> None:
    """One finding, of the right kind, with its session and words for people."""
    log, folded = sound(deployment)
    break_it(deployment, log, folded)
    report = deployment.audit()

    assert kinds(report) == {kind: 1}, report.findings
    assert report.findings[0].session == session
    assert report.findings[0].detail
    assert not report.is_clean


def test_audit_takes_dead_letters_and_repeats_for_answers(deployment: Deployment) -> None:
    """A dead letter ends a message; a second record of a ``message_id`` shares the first one's outcome.

    The last repeat lies beyond what its session remembers: the log itself is asked. Mutant: ``check.decided``.
    """
    log, _ = sound(deployment, new_log([("complete", "s1")] * (2 * RECENT_DECISIONS + 6)))
    letter = DeadLetter(
        topic=deployment.names.messages,
        partition=0,
        offset=len(log.messages),
        cause="undecodable",
        detail="",
        occurred_at=1,
    )
    deployment.produce(deployment.names.messages, [(b"s1", b"\xff")])
    deployment.produce(deployment.names.dead_letters, [(b"s1", CODEC.encode(letter))])
    for message in (log.messages[-1], log.messages[0]):
        repeat = json.dumps({"text": "?", "message_id": message.message_id}).encode()
        deployment.produce(deployment.names.messages, [(b"s1", repeat)])
    deployment.commit(log.next_offset, len(log.messages) + 3)
    report = deployment.audit()

    assert report.findings == ()
    assert report.messages == len(log.messages) + 3


@pytest.mark.parametrize("arrives", [True, False])
def test_audit_follows_misplaced_messages(deploy: Callable[..., Deployment], *, arrives: bool) -> None:
    """A message on the wrong partition must have come to its own. Mutant: ``Reroutes.check`` not called."""
    deployment = deploy(partitions=2)
    home = partition_for(b"s1", 2)
    offsets = deployment.produce(deployment.names.messages, [(b"s1", b'{"text": "?"}')], 1 - home)
    if arrives:
        first_seen = f"{deployment.names.messages}-{1 - home}-{offsets[0]}".encode()
        deployment.produce(deployment.names.messages, [(b"s1", b'{"text": "?"}')], home, [(FIRST_SEEN, first_seen)])
    deployment.commit(0, 1, 1 - home)
    report = deployment.audit()

    assert kinds(report) == ({} if arrives else {FindingKind.LOST_REROUTE: 1})


def test_audit_of_another_fold_version_is_unverifiable_not_wrong(deployment: Deployment) -> None:
    """Its next owner folds the log again. Mutant: ``is_outdated`` not asked in ``lacks``."""
    log = new_log()
    folded = deployment.write_log(log)
    values = deployment.values(folded)
    values[b"s1"] = of_version(values[b"s1"], FOLD_VERSION + 1)
    deployment.write_changelog(values.items())
    deployment.commit(log.next_offset, len(log.messages))
    report = deployment.audit()

    assert report.findings == ()
    assert sum(report.unverifiable.values()) == 1


def test_audit_of_a_log_without_its_beginning_is_unverifiable_not_wrong(deployment: Deployment) -> None:
    """Finite retention took the start. Mutant: ``first > 0`` not asked: every session seems forged."""
    log, _ = sound(deployment)
    deployment.delete_before(deployment.names.events, 3)
    report = deployment.audit()

    assert report.findings == ()
    assert sum(report.unverifiable.values()) == 3 + len(log.messages)


def test_audit_of_an_event_of_a_newer_version_judges_what_lies_before_it(deployment: Deployment) -> None:
    """Rule 6: the partition's owner stopped there as well. Mutant: ``stopped_at`` not passed on."""
    sound(deployment)
    deployment.produce(deployment.names.events, [(b"s1", SINGLE_OBJECT_MARK + b"\x01" * 20)])
    report = deployment.audit()

    assert report.findings == ()
    assert report.values == 3


def test_audit_of_one_session_reads_only_it(deployment: Deployment) -> None:
    """What is wrong with another one is not looked at."""
    log, folded = sound(deployment)
    other_value(deployment, log, folded)

    assert deployment.audit(session="s2").is_clean
    assert kinds(deployment.audit(session="s1")) == {FindingKind.VALUE_DIFFERS: 1}
    assert kinds(deployment.audit(partition=0)) == {FindingKind.VALUE_DIFFERS: 1}


def test_audit_of_the_partition_s_own_record_compares_it_too(deployment: Deployment) -> None:
    """Epochs decide what counts: their record is no less than a session."""
    _, folded = sound(deployment)
    state = folded.partition.state
    deployment.write_changelog([(PARTITION_KEY, VALUES.encode(replace(state, epochs=(*state.epochs, 1))))])
    report = deployment.audit()

    assert kinds(report) == {FindingKind.VALUE_DIFFERS: 1}
    assert "epochs" in report.findings[0].detail
