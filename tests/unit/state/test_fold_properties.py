"""What no log can do to a session: properties over generated logs.

Seen to fail: each property names the line of ``state/fold.py`` or ``state/partition_fold.py`` whose removal makes it
fail; all were tried (``Mutant:``).
"""

from __future__ import annotations

from typing import get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.attempt import Attempt
from schemas.events import LogEvent, PartitionOpened, SessionEvent, StepCompleted, ToolCalled, ToolReturned, Usage
from schemas.serdes import Codec
from schemas.session import Session
from state.fold import OUTCOMES, Verdict, fold, is_decided
from state.value import ValueCodec
from tests.unit.state.session_logs import Folded, Logged, PartitionLog, fold_all, logs

CODEC = ValueCodec(Codec())
STEPS = (StepCompleted, ToolCalled, ToolReturned)

thorough = settings(max_examples=150)


@thorough
@given(logs)
def test_fold_of_what_owners_write_applies_every_record(log: PartitionLog) -> None:
    """The generator is realistic: not one record of a proper log is rejected."""
    verdicts = {verdict for _, verdict in fold_all(log.records).verdicts if verdict is not None}

    assert verdicts <= {Verdict.APPLIED}


@thorough
@given(logs, st.data())
def test_fold_of_any_duplicated_records_leaves_the_same_sessions(log: PartitionLog, data: st.DataObject) -> None:
    """A record appended again behind the first, by a producer that retried, changes nothing.

    Mutant: rule 3 (``event.event_id in turn.event_ids``) or rule 2 (``is_decided``) removed.
    """
    copies = data.draw(st.lists(st.sampled_from(log.records), max_size=8))
    records: list[LogEvent] = [record.event for record in log.records]
    for copy in copies:
        if isinstance(copy.event, PartitionOpened):
            continue  # a new opening is another epoch: tested by itself
        first = records.index(copy.event)
        records.insert(data.draw(st.integers(first + 1, len(records))), copy.event)

    once = fold_all(spread(log.records, [record.event for record in log.records]))
    again = fold_all(spread(log.records, records))

    assert again.sessions == once.sessions


def spread(originals: list[Logged], events: list[LogEvent]) -> list[Logged]:
    """Give originals their offsets a thousandfold and copies some between; epochs follow."""
    offsets = {id(record.event): record.offset * 1000 for record in originals}
    seen: set[int] = set()
    placed: list[Logged] = []
    last = 0
    for event in events:
        last = last + 1 if id(event) in seen else offsets[id(event)]
        seen.add(id(event))
        placed.append(Logged(last, with_epoch(event, 1000)))
    return placed


def with_epoch(event: LogEvent, factor: int) -> LogEvent:
    """The same record in a log whose offsets are multiplied."""
    if isinstance(event, PartitionOpened):
        return event
    return replace(event, attempt=Attempt(event.attempt.epoch * factor, event.attempt.number))


@thorough
@given(logs, logs, st.data())
def test_fold_of_old_epochs_records_behind_a_newer_opening_leaves_the_same_sessions(
    log: PartitionLog, zombie: PartitionLog, data: st.DataObject
) -> None:
    """Whatever an owner writes that was replaced, of any type, changes nothing.

    Mutant: rule 1 (``event.attempt.epoch != epoch``) removed.
    """
    log.open("newer")
    late: list[SessionEvent] = [
        event for _, event in [*log.records, *zombie.records] if not isinstance(event, PartitionOpened)
    ]
    once = fold_all(log.records)
    offset = log.records[-1].offset
    old_epochs = st.integers(-1, offset - 1)
    inserted: list[Logged] = []
    for event in data.draw(st.lists(st.sampled_from(late), max_size=10)) if late else ():
        offset += 1
        old = Attempt(data.draw(old_epochs), event.attempt.number)
        inserted.append(Logged(offset, replace(event, attempt=old)))

    after = fold_all([*log.records, *inserted])

    assert after.sessions.keys() - once.sessions.keys() <= {event.session_id for _, event in inserted}  # empty ones
    assert {key: after.sessions[key] for key in once.sessions} == once.sessions
    assert all(verdict is Verdict.STALE_EPOCH for _, verdict in after.verdicts[len(log.records) :])


@thorough
@given(logs, st.data())
def test_fold_of_any_repeated_step_leaves_the_same_sessions(log: PartitionLog, data: st.DataObject) -> None:
    """A step, a tool call or a tool's result that is in the log twice counts once.

    Mutant: rule 3 removed.
    """
    folded = Folded()
    for record in log.records:
        folded.feed([record])
        if isinstance(record.event, STEPS):
            before = dict(folded.sessions)
            folded.feed([Logged(record.offset, record.event)] * data.draw(st.integers(0, 2)))
            session, verdict = folded.partition.apply(
                folded.sessions[record.event.session_id], record.event, offset=record.offset + 1
            )
            assert folded.sessions == before
            assert session is folded.sessions[record.event.session_id]
            assert verdict is Verdict.REPEATED


@thorough
@given(logs, st.data())
def test_fold_of_any_window_delivered_again_equals_folding_once(log: PartitionLog, data: st.DataObject) -> None:
    """A commit that lags behind the fold brings records again, from any place on, at any time.

    Mutant: ``offset <= session.folded`` removed; or ``epoch_at`` answering the current epoch.
    """
    end = data.draw(st.integers(0, len(log.records)))
    start = data.draw(st.integers(0, end))
    folded = Folded().feed(log.records[:end])
    at_end = (dict(folded.sessions), folded.partition.state)

    folded.feed(log.records[start:end])

    assert (folded.sessions, folded.partition.state) == at_end
    assert folded.feed(log.records[end:]).sessions == fold_all(log.records).sessions


@thorough
@given(logs, st.data())
def test_fold_continued_from_an_encoded_value_equals_the_whole_fold(log: PartitionLog, data: st.DataObject) -> None:
    """A value written, read by another worker and folded on is the same session.

    Mutant: a field of ``Session`` left out of the body (``encode_session`` of ``replace(session, done_above=())``).
    """
    cut = data.draw(st.integers(0, len(log.records)))
    folded = Folded().feed(log.records[:cut])
    folded.sessions = {key: CODEC.decode_session(CODEC.encode(session)) for key, session in folded.sessions.items()}
    folded.partition.state = CODEC.decode_partition(CODEC.encode(folded.partition.state))

    assert folded.feed(log.records[cut:]).sessions == fold_all(log.records).sessions


@thorough
@given(logs)
def test_decided_offsets_of_any_log_agree_with_a_naive_model(log: PartitionLog) -> None:
    """``done_upto`` and ``done_above`` say exactly of each offset whether it is decided, and stay minimal.

    Mutant: ``above`` not extended, or not filtered, in ``_offsets_after``.
    """
    folded = Folded()
    decided: dict[str, set[int]] = {}
    upto: dict[str, int] = {}
    last = max((e.source_offset for _, e in log.records if not isinstance(e, PartitionOpened)), default=0) + 3
    for record in log.records:
        folded.feed([record])
        event = record.event
        if not isinstance(event, OUTCOMES):
            continue
        decided.setdefault(event.session_id, set()).add(event.source_offset)
        upto[event.session_id] = max(upto.get(event.session_id, -1), event.decided_upto)
        session = folded.sessions[event.session_id]
        for offset in range(last):
            naive = offset in decided[event.session_id] or offset <= upto[event.session_id]
            assert is_decided(session, "no such id", offset) is naive, offset
        assert session.done_upto == upto[event.session_id]
        assert list(session.done_above) == sorted(o for o in decided[event.session_id] if o > session.done_upto)


def any_event(kind: type[SessionEvent]) -> st.SearchStrategy[SessionEvent]:
    """Any record of a type: few ids and numbers, so that records meet."""
    few = st.integers(-1, 6)
    numbers = {name: few for name, hint in get_type_hints(kind).items() if hint is int}
    return st.builds(
        kind,
        **{**numbers, **({"usage": st.just(Usage())} if "usage" in kind.__struct_fields__ else {})},
        session_id=st.just("s1"),
        event_id=st.sampled_from(["e1", "e2", "e3"]),
        turn_id=st.sampled_from(["t1", "t2"]),
        message_id=st.sampled_from(["m1", "m2", "m3"]),
        attempt=st.builds(Attempt, few, st.integers(0, 1)),
    )


events = st.one_of([any_event(kind) for kind in SessionEvent.__args__])


@settings(max_examples=400)
@given(st.lists(st.tuples(events, st.integers(-1, 30), st.integers(-1, 6)), max_size=40))
def test_fold_of_any_events_in_any_order_never_raises(script: list[tuple[SessionEvent, int, int]]) -> None:
    """The fold is total; a rejected record returns the very same session, an applied one moves ``folded``.

    Mutant: ``_step`` without its ``turn is None`` and ``judge`` without rule 4 raises AttributeError.
    """
    session = Session(session_id="s1")
    for event, offset, epoch in script:
        after, verdict = fold(session, event, offset=offset, epoch=epoch)
        if verdict is Verdict.APPLIED:
            assert after.folded == offset > session.folded
        else:
            assert after is session
        session = CODEC.decode_session(CODEC.encode(after))
