"""The judge sees what is wrong: a clean run with one thing taken out of it, or put in."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from schemas.tokens import TokenKind
from tests.chaos.case import Case
from tests.chaos.doctored import NAMES, Doctored, turn_of
from tests.chaos.evidence import Effect
from tests.chaos.judge import judge
from tests.chaos.load import Action
from tests.chaos.verdict import Verdict
from tests.support.topic_reader import Read


def _clean() -> Doctored:
    """Three answers, a poison, a crash in mid-turn, a zombie's late outcome; all of it in order."""
    run = Doctored()
    run.open()
    run.answer("a")
    source = run.publish("b")
    zombie = run.start("b", source)
    run.open()
    run.complete("b", source, run.start("b", source))
    run.publish("b")  # a copy
    late = run.records[NAMES.changelog][:]
    run.records[NAMES.changelog] = []
    session = run.session
    run.complete("b", source, zombie)  # does not count
    run.records[NAMES.tokens].pop()  # nor is it told
    run.session, run.records[NAMES.changelog] = session, late
    run.dead_letter(run.publish("p", mark=Action.POISON, value=b"{"))
    run.answer("c")
    run.commit(NAMES.messages, len(run.records[NAMES.messages]))
    run.commit(NAMES.events, len(run.records[NAMES.events]))
    run.store()
    return run


def _kinds(verdict: Verdict) -> set[str]:
    return set(verdict.violations)


def test_judge_clean_run_nothing_found() -> None:
    """The zombie's record is counted as rejected, the copy as recognised; nothing is violated."""
    verdict = judge(_clean().evidence())
    assert not verdict.violations
    assert verdict.rejected == {"1: another epoch": 1}
    assert (verdict.messages, verdict.repeated, verdict.outcomes) == (3, 1, {"TurnCompleted": 3})
    assert verdict.dead_letters == {"undecodable": 1}


def test_judge_outcome_missing_reported() -> None:
    """A confirmed message without an outcome."""
    run = _clean()
    run.publish("lost")
    assert _kinds(judge(run.evidence())) == {"not answered"}


def test_judge_confirmed_record_not_in_topic_reported() -> None:
    """A record that the broker confirmed and does not have."""
    run = _clean()
    run.publish("gone")
    run.records[NAMES.messages].pop()
    assert _kinds(judge(run.evidence())) == {"lost by the broker"}


def test_judge_table_counts_a_second_outcome_reported() -> None:
    """Two outcomes of a message in the log: the fold takes the first; a table that took both is wrong."""
    run = _clean()
    source = run.publish("d")
    attempt = run.start("d", source)
    run.complete("d", source, attempt)
    assert not judge(run.evidence()).violations.keys() - {"table"}
    run.complete("d", source, attempt)
    verdict = judge(run.evidence())
    assert "table" in verdict.violations
    assert verdict.rejected["2: decided already"] == 1


def test_judge_answer_told_before_the_log_decided_otherwise_reported() -> None:
    """A reader was told another attempt's end than the one that the log accepted."""
    run = _clean()
    source = run.publish("d")
    old = run.start("d", source)
    run.open()
    run.token("d", old, 2, TokenKind.COMPLETED, "said by 0")
    run.complete("d", source, run.start("d", source))
    assert "reader" in _kinds(judge(run.evidence()))


def test_judge_attempts_mixed_reported() -> None:
    """A delta of the same attempt comes twice, as from two calls: the reader's text is not the log's."""
    run = Doctored()
    run.open()
    source = run.publish("a")
    attempt = run.start("a", source)
    run.token("a", attempt, 2, TokenKind.DELTA, " and by another call")
    run.complete("a", source, attempt)
    assert _kinds(judge(run.evidence())) == {"reader"}


def test_judge_terminal_token_missing_reported() -> None:
    """The last reader waits for ever."""
    run = _clean()
    run.records[NAMES.tokens].pop()
    assert _kinds(judge(run.evidence())) == {"reader"}


def test_judge_wrong_value_in_changelog_reported() -> None:
    """A value that the session never had, although it says the right offset."""
    run = _clean()
    run.write(structs.replace(run.session, memory=run.session.memory[2:]))
    assert _kinds(judge(run.evidence())) == {"table"}


def test_judge_old_value_last_in_changelog_reported() -> None:
    """A zombie's late record: right once, and what compaction would keep (hazard S2)."""
    run = _clean()
    records = run.records[NAMES.changelog]
    records.append(records[0]._replace(offset=len(records)))
    assert _kinds(judge(run.evidence())) == {"changelog"}


def test_judge_event_never_in_changelog_reported() -> None:
    """The last event is in the log and in no value."""
    run = _clean()
    run.databases.clear()
    run.samples.clear()
    run.records[NAMES.changelog].pop()
    assert _kinds(judge(run.evidence())) == {"changelog"}


def test_judge_owner_lacks_the_last_value_reported() -> None:
    """The owner's RocksDB is behind; another worker's may be."""
    run = _clean()
    old = run.session
    run.answer("d")
    run.store(old, worker="another")
    assert judge(run.evidence()).violations.keys() == {"table"}  # w1's own, stored by _clean()
    run.databases.clear()
    run.store(old, worker="another")
    run.store()
    assert not judge(run.evidence()).violations


def test_judge_database_unreadable_reported_unless_damaged_by_the_suite() -> None:
    """Bytes that were flipped on purpose may make it unreadable, until a worker has to open it."""
    run = _clean()
    (whole,) = run.databases
    opened_at = Case(run.evidence()).opened_at["w1", 0]
    for damaged_at, found in ((opened_at + 1, set()), (opened_at - 1, {"table"}), (None, {"table"})):
        run.databases[:] = [replace(whole, values=None, error="Corruption", damaged_at=damaged_at)]
        verdict = judge(run.evidence())
        assert _kinds(verdict) == found
        assert verdict.excused == ([] if found else [whole.path])


def test_judge_damaged_database_that_lies_reported() -> None:
    """What can still be read of it has to be right."""
    run = _clean()
    (whole,) = run.databases
    run.databases[:] = [replace(whole, values={}, error="Corruption", damaged_at=1.0)]
    assert not judge(run.evidence()).violations
    run.store(structs.replace(run.session, memory=run.session.memory[2:]))
    run.databases[:] = [replace(run.databases[1], error="Corruption", damaged_at=1.0)]
    assert _kinds(judge(run.evidence())) == {"table"}


def test_judge_good_message_rejected_reported_unless_shed() -> None:
    """Overload is a reason where the workers shed, and only for a message that is older than the bound."""
    for shed_lag_s, reason, age_s, found in (
        (3.0, "overloaded", 3.1, set()),
        (3.0, "overloaded", 2.9, {"rejected"}),
        (3.0, "mood", 3.1, {"rejected"}),
        (None, "overloaded", 3.1, {"rejected"}),
    ):
        run = _clean()
        run.databases.clear()
        run.reject("d", run.publish("d"), reason, age_s=age_s)
        assert _kinds(judge(run.evidence(shed_lag_s=shed_lag_s))) == found


def test_judge_message_committed_before_its_outcome_reported() -> None:
    """The sample saw the commit before the log had the outcome."""
    run = _clean()
    source = run.publish("d")
    attempt = run.start("d", source)
    run.commit(NAMES.messages, source + 1)
    run.complete("d", source, attempt)
    run.databases.clear()
    assert _kinds(judge(run.evidence())) == {"commit"}


def test_judge_poison_committed_before_its_dead_letter_reported() -> None:
    """As for an outcome."""
    run = _clean()
    offset = run.publish("q", mark=Action.POISON, value=b"{")
    run.commit(NAMES.messages, offset + 1)
    run.dead_letter(offset)
    assert _kinds(judge(run.evidence())) == {"commit"}


def test_judge_event_committed_before_its_changelog_record_reported() -> None:
    """The sample saw the log's commit before the changelog had the session."""
    run = _clean()
    source = run.publish("d")
    run.start("d", source)
    run.commit(NAMES.events, len(run.records[NAMES.events]))
    run.databases.clear()
    assert "commit" in _kinds(judge(run.evidence()))


def test_judge_poison_without_dead_letter_and_good_message_with_one_reported() -> None:
    """Both are wrong."""
    run = _clean()
    run.publish("q", mark=Action.POISON, value=b"{")
    run.dead_letter(run.answer("d"), is_told=False)
    run.databases.clear()
    assert _kinds(judge(run.evidence())) == {"no dead letter", "dead letter"}


def test_judge_record_without_readable_headers_is_poison() -> None:
    """Its mark cannot be read, either; it needs its dead letter and no answer."""
    run = _clean()
    run.databases.clear()
    offset = run.publish("u", mark=Action.UNREADABLE)
    records = run.records[NAMES.messages]
    records[offset] = records[offset]._replace(headers=[])
    assert _kinds(judge(run.evidence())) == {"no dead letter"}
    run.dead_letter(offset)
    assert not judge(run.evidence()).violations


def test_judge_session_out_of_order_reported() -> None:
    """The later message is answered first."""
    run = Doctored()
    run.open()
    first, second = run.publish("a"), run.publish("b")
    run.complete("b", second, run.start("b", second))
    run.complete("a", first, run.start("a", first))
    assert "order" in _kinds(judge(run.evidence()))


def test_judge_outcome_of_no_message_reported() -> None:
    """Somebody answered what nobody asked."""
    run = _clean()
    run.answer("d")
    run.databases.clear()
    run.records[NAMES.messages].pop()
    run.confirmed.pop()
    assert "phantom" in _kinds(judge(run.evidence()))


def test_judge_misplaced_message_never_rerouted_reported() -> None:
    """It lies where its key does not belong, and no copy of it where it does."""
    run = _clean()
    evidence = run.evidence()
    evidence.partitions = 2
    odd = Read(1, 0, b"s1", b'{"text": "x"}', [("chaos", b"misplaced")], 0)
    home = Read(0, 0, b"s1", b'{"text": "x"}', [("chaos", b"misplaced")], 0)
    evidence.records = {NAMES.messages: [odd, home]}
    assert any("never re-routed" in text for text in judge(evidence).violations["not answered"])


def test_judge_effect_twice_or_without_its_event_reported() -> None:
    """A tool's effect, by turn and call: once, and only behind the event that lets it happen."""
    run = Doctored()
    run.open()
    source = run.publish("a")
    attempt = run.start("a", source)
    run.call_tool("a", source, attempt, "call-1")
    run.complete("a", source, attempt)
    effect = Effect(turn_of("a"), "call-1")
    assert not judge(run.evidence(effects=[effect])).violations
    assert _kinds(judge(run.evidence(effects=[effect, effect]))) == {"effect"}
    assert _kinds(judge(run.evidence(effects=[effect._replace(call_id="call-2")]))) == {"effect"}
