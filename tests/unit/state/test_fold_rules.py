"""The fold's rules, one by one (design.md, part 2). Each names the mutant that it was seen to catch."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.attempt import Attempt
from schemas.errors import UnknownEventError
from schemas.events import MemoryCompacted, MessageQueued, PartitionOpened, StepCompleted, TurnCompleted, TurnStarted
from schemas.framing import SINGLE_OBJECT_MARK
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.fold import Verdict, fold
from state.partition_fold import EPOCHS_KEPT, PartitionFold
from tests.unit.state.session_logs import Folded, PartitionLog, fold_all, written


def test_rule_1_another_epoch_than_the_partitions_is_rejected() -> None:
    """Mutant: the comparison with ``epoch`` removed: the zombie's start is applied."""
    log = PartitionLog()
    old = log.open("zombie")
    log.open("owner")
    log.append(TurnStarted(**log.envelope(log.message("s1"), Attempt(old, 0), "start"), text="?", agent="a", model="m"))

    folded = fold_all(log.records)

    assert folded.verdicts[-1][1] is Verdict.STALE_EPOCH
    assert folded.sessions["s1"] == Session(session_id="s1")


def test_rule_1_a_future_epoch_is_rejected_too() -> None:
    """Mutant: ``<`` in place of ``!=``: a record of an epoch that is not in the log yet is applied."""
    log = PartitionLog()
    log.open()
    log.append(TurnStarted(**log.envelope(log.message("s1"), Attempt(99, 0), "start"), text="?", agent="a", model="m"))

    assert fold_all(log.records).verdicts[-1][1] is Verdict.STALE_EPOCH


def test_rule_2_an_outcome_for_a_decided_turn_is_rejected() -> None:
    """Mutant: ``is_decided`` not asked: the second answer is remembered."""
    log = written([("complete", "s1"), ("complete", "s1")])
    completed = log.records[-1].event
    assert isinstance(completed, TurnCompleted)
    log.append(replace(completed, event_id="another", text="another answer"))

    folded = fold_all(log.records)

    assert folded.verdicts[-1][1] is Verdict.DECIDED
    assert folded.sessions["s1"].turns == 1
    assert [entry.text for entry in folded.sessions["s1"].memory] == ["ask m1", "answer m1"]


def test_rule_2_a_start_for_a_message_published_twice_is_rejected() -> None:
    """Mutant: ``is_decided`` by offset alone: the second record of one ``message_id`` gets a turn."""
    log = written([("complete", "s1"), ("complete", "s1")])
    started = log.records[1].event
    assert isinstance(started, TurnStarted)
    log.append(replace(started, source_offset=started.source_offset + 20))

    assert fold_all(log.records).verdicts[-1][1] is Verdict.DECIDED


def test_rule_3_the_same_event_id_again_is_rejected() -> None:
    """Mutant: ``event_ids`` not asked: the step counts twice."""
    log = written([("complete", "s1"), ("step", "s1")])
    step = log.records[-2].event
    assert isinstance(step, StepCompleted)
    log.append(step)

    folded = fold_all(log.records)
    turn = folded.sessions["s1"].open_turn

    assert folded.verdicts[-1][1] is Verdict.REPEATED
    assert turn is not None
    assert [output.step for output in turn.steps] == [0]


@pytest.mark.parametrize("is_begun", [False, True], ids=["while queued", "while its turn runs"])
def test_rule_3_a_queued_message_again_is_rejected(*, is_begun: bool) -> None:
    """Mutant: the rule for ``MessageQueued`` removed: it waits twice, and gets two turns."""
    script = [("complete", "s1"), ("suspend", "s1"), ("queue", "s1")]
    log = written(script + [("complete", "s1"), ("complete", "s1")] * is_begun)
    queued = next(event for _, event in log.records if isinstance(event, MessageQueued))
    before = fold_all(log.records).sessions["s1"]
    log.append(queued)

    folded = fold_all(log.records)

    assert folded.verdicts[-1][1] is Verdict.REPEATED
    assert folded.sessions["s1"] == before


def test_rule_4_a_step_without_its_start_is_rejected() -> None:
    """Mutant: rule 4 removed: an answer without a question is remembered."""
    log = PartitionLog()
    epoch = log.open()
    message, attempt = log.message("s1"), Attempt(epoch, 0)
    log.append(StepCompleted(**log.envelope(message, attempt, 0), step=0, text=""))
    log.append(TurnCompleted(**log.outcome(message, attempt), text="answer", deltas=1))

    folded = fold_all(log.records)

    assert [verdict for _, verdict in folded.verdicts[1:]] == [Verdict.NO_START] * 2
    assert folded.sessions["s1"] == Session(session_id="s1")


def test_rule_4_a_step_of_an_attempt_that_was_superseded_is_rejected() -> None:
    """Mutant: ``event.attempt != turn.attempt`` removed: a reader sees steps of two attempts mixed."""
    log = written([("complete", "s1"), ("again", "s1")])
    message = log.lane("s1").running
    assert message is not None
    log.append(StepCompleted(**log.envelope(message, Attempt(log.epoch, 0), 0), step=0, text="late"))

    assert fold_all(log.records).verdicts[-1][1] is Verdict.NO_START


def test_rule_5_anything_else_is_applied_and_moves_folded() -> None:
    """Mutant: ``folded=offset`` removed from ``evolve``: a value no longer says how far it is folded."""
    log = written([("complete", "s1"), ("complete", "s1")])
    session = fold_all(log.records).sessions["s1"]

    assert session.folded == log.records[-1].offset
    assert session.epoch == log.epoch
    assert (session.turns, session.next_seq, session.open_turn) == (1, 2, None)
    assert session.usage.prompt_tokens == 3


def test_rule_5_a_compaction_drops_what_it_names_and_nothing_again() -> None:
    """Mutant: ``_first_seq`` not asked: an old compaction again would bring its older summary back."""
    log = written([("complete", "s1")] * 4 + [("compact", "s1"), ("compact", "s1")])
    compactions = [event for _, event in log.records if isinstance(event, MemoryCompacted)]
    before = fold_all(log.records).sessions["s1"]
    log.append(compactions[0])

    folded = fold_all(log.records)

    assert len(compactions) == 2
    assert folded.sessions["s1"] == before
    assert (before.memory, before.summary, before.next_seq) == ((), "till 4", 4)


def test_rule_6_an_unknown_event_type_never_reaches_the_fold() -> None:
    """Mutant: ``UnknownEventError`` made a ``DecodeError``: the record is put aside and the session goes wrong."""
    with pytest.raises(UnknownEventError, match="a newer version wrote it"):
        Codec().decode_event(SINGLE_OBJECT_MARK + b"\x01" * 20, topic="events", partition=0, offset=7)


def test_epoch_of_a_record_is_that_of_its_own_place() -> None:
    """Mutant: ``epoch_at`` answering the current epoch: a redelivered record of an earlier epoch is rejected."""
    log = PartitionLog()
    first = log.open()
    second = log.open()
    partition = fold_all(log.records).partition

    assert [partition.epoch_at(offset) for offset in (first, first + 1, second + 1)] == [-1, first, second]


def test_epochs_of_a_log_that_is_folded_again_from_its_beginning_are_all_known() -> None:
    """A refold meets openings older than those remembered; its records count all the same.

    Mutant: ``PartitionFold._replayed`` not kept: everything before the oldest remembered opening is rejected, and
    sessions that were to be folded again are lost.
    """
    log = PartitionLog()
    log.open()
    log.act("complete", "s1")
    log.act("complete", "s1")
    for _ in range(EPOCHS_KEPT + 5):
        log.open()
    state = fold_all(log.records).partition.state
    again = Folded()
    again.partition = PartitionFold(state)  # what a recovery left: the partition's record, and no sessions

    assert again.feed(log.records).sessions == fold_all(log.records).sessions
    assert again.partition.state == state


def test_openings_remembered_are_bounded() -> None:
    """Mutant: the slice removed from ``PartitionFold.open``: the value grows with each rebalance."""
    partition = PartitionFold(PartitionState(partition=0))
    for offset in range(3 * EPOCHS_KEPT):
        partition.open(PartitionOpened(event_id=str(offset), owner="w", generation=1, occurred_at=0), offset=offset)

    assert len(partition.state.epochs) == EPOCHS_KEPT
    assert partition.epoch == 3 * EPOCHS_KEPT - 1


def test_fold_of_a_record_at_or_below_folded_is_a_repeat() -> None:
    """Mutant: ``offset <= session.folded`` removed: a redelivered compaction or start is applied twice."""
    log = written([("complete", "s1")])
    session = fold_all(log.records).sessions["s1"]
    event = replace(log.records[-1].event, event_id="other")

    assert fold(session, event, offset=session.folded, epoch=log.epoch)[1] is Verdict.REPEATED


def test_decided_offsets_above_are_dropped_once_all_below_are_decided() -> None:
    """The set stays small. Mutant: ``above`` not filtered in ``_offsets_after``."""
    log = written([("cancel_waiting", "s1")])
    assert fold_all(log.records).sessions["s1"].done_above == (2,)
    for _ in range(4):
        log.act("complete", "s1")

    session = fold_all(log.records).sessions["s1"]

    assert (session.done_upto, session.done_above) == (4, ())
