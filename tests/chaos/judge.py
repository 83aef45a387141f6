"""The judge: every promise of the design, held against what a run left behind.

Nothing of ``state/`` and ``streams/`` is asked: the log's verdict is ``tests.support.checker``'s, the table's
``memory_fold``'s. Wire types, codec, ids and the partitioner are the product's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from schemas.events import MessageRejected, TurnCancelled
from schemas.ids import turn_id_for
from schemas.tokens import TokenKind
from tests.chaos.case import Case
from tests.chaos.commits import check_commits
from tests.chaos.evidence import Evidence
from tests.chaos.exits import check_exits
from tests.chaos.load import POISONS, Confirmed
from tests.chaos.outcomes import check_outcomes
from tests.chaos.pauses import measure_pauses
from tests.chaos.tables import check_changelog, check_databases
from tests.chaos.verdict import Verdict
from tests.support.checker import Answer, Report, check_tokens, fold_tokens

#: The one reason why a good message may get no answer.
_OVERLOADED: Final = "overloaded"


def judge(evidence: Evidence) -> Verdict:
    """Judge a run."""
    case = Case(evidence)
    for check in (
        _check_topic,
        _check_answered,
        check_outcomes,
        _check_rejections,
        _check_phantoms,
        _check_order_of_offsets,
        _check_order_of_publishers,
        _check_readers,
        check_changelog,
        check_databases,
        check_commits,
        check_exits,
        _check_effects,
        _count,
    ):
        check(case)
    return case.verdict


def _check_topic(case: Case) -> None:
    """What the broker confirmed it has."""
    places = {message.place for message in case.messages}
    for confirmed in case.evidence.confirmed:
        if (confirmed.partition, confirmed.offset) not in places:
            case.verdict.fault("lost by the broker", str(confirmed))


def _check_answered(case: Case) -> None:
    """Every message has its outcome, every poison its dead letter, every misplaced one its copy; nothing has both."""
    for message in case.messages:
        if case.proof_of(message) is None:
            kind = "no dead letter" if message.is_poison and not message.is_misplaced else "not answered"
            case.verdict.fault(kind, f"never re-routed: {message}" if message.is_misplaced else str(message))
        if message.place in case.letters and not message.is_poison:
            case.verdict.fault("dead letter", f"of a good message: {message}")


def _check_rejections(case: Case) -> None:
    """A good message is rejected only where the workers shed load, and only when it is too old."""
    lag_s = case.evidence.shed_lag_s
    published = {message.place: message.read.timestamp_ms for message in case.messages}
    for accepted in case.log.outcomes.values():
        event = accepted.event
        if not isinstance(event, MessageRejected):
            continue
        age_ms = event.occurred_at - published.get((accepted.partition, event.source_offset), event.occurred_at)
        if event.reason != _OVERLOADED or lag_s is None or age_ms <= lag_s * 1000:
            case.verdict.fault("rejected", f"at an age of {age_ms / 1000:.1f} s: {event}")


def _check_phantoms(case: Case) -> None:
    """Every outcome is a message's, and lies where its session belongs; so does all that readers are told."""
    asked = {message.turn_id for message in case.messages if not (message.is_misplaced or message.is_poison)}
    for turn_id, accepted in case.log.outcomes.items():
        home = case.partition_of(accepted.event.session_id)
        if turn_id not in asked:
            case.verdict.fault("phantom", f"an outcome of no message: {accepted}")
        if accepted.partition != home:
            case.verdict.fault("phantom", f"an outcome on partition {accepted.partition}, not {home}: {accepted}")


def _check_order_of_offsets(case: Case) -> None:
    """A session's outcomes lie in the order of its messages; a cancelled one may be decided ahead of its turn."""
    latest: dict[str, int] = {}
    for accepted in sorted(case.log.outcomes.values(), key=lambda outcome: (outcome.partition, outcome.offset)):
        session, offset = accepted.event.session_id, accepted.event.source_offset
        if isinstance(accepted.event, TurnCancelled):
            continue
        if offset < latest.get(session, -1):
            case.verdict.fault("order", f"session {session}: offset {offset} behind {latest[session]}")
        latest[session] = max(offset, latest.get(session, -1))


def _check_order_of_publishers(case: Case) -> None:
    """... and those of one publisher in the order of publishing; between two publishers there is none."""
    publishers: dict[tuple[str, str], set[str]] = defaultdict(set)
    firsts: dict[tuple[str, str], Confirmed] = {}
    for confirmed in sorted(case.evidence.confirmed, key=lambda record: record.number):
        name = confirmed.session_id, confirmed.message_id
        publishers[name].add(confirmed.client)
        if confirmed.mark not in POISONS:
            firsts.setdefault(name, confirmed)
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for (session, message_id), confirmed in firsts.items():
        accepted = case.log.outcomes.get(turn_id_for(session, message_id))
        is_free = accepted is None or isinstance(accepted.event, TurnCancelled)
        if accepted is None or is_free or len(publishers[session, message_id]) > 1:
            continue
        offset, before = last.get((confirmed.client, session), (-1, ""))
        if accepted.offset < offset:
            case.verdict.fault("order", f"session {session}: {message_id} answered before {before}, published earlier")
        last[confirmed.client, session] = accepted.offset, message_id


def _check_readers(case: Case) -> None:
    """No reader sees mixed attempts; each holds the log's text and hears its end, a poison's with its letter's."""
    topic = case.evidence.names.tokens
    answers = fold_tokens(case.evidence.of(topic), topic)
    report = Report()
    check_tokens(report, case.log, answers)
    for fault in report.faults:
        case.verdict.fault("reader", fault)
    asked = {message.turn_id for message in case.messages}
    for turn_id in answers.keys() - asked:
        case.verdict.fault("phantom", f"tokens of no message: {turn_id}")
    for message in case.messages:
        letter = case.letters.get(message.place)
        if letter is None or not message.is_poison or message.is_misplaced or not message.has_readers:
            continue
        told = answers.get(message.turn_id, Answer()).terminals
        ends = {(token.kind, token.cause, token.text, token.deltas) for token in told}
        if ends != {(TokenKind.FAILED, letter.cause, None, 0)}:
            case.verdict.fault("reader", f"of a dead letter ({letter.cause}), told {told or 'nothing'}: {message}")
    case.verdict.cut_off = sum(len(answer.attempts) > 1 for answer in answers.values())


def _check_effects(case: Case) -> None:
    """No tool's effect happens twice, and none that the log has not accepted before."""
    effects = Counter(case.evidence.effects)
    case.verdict.effects = len(effects)
    for effect, times in effects.items():
        if times > 1:
            case.verdict.fault("effect", f"{effect} happened {times} times")
        if effect not in case.tool_calls:
            case.verdict.fault("effect", f"{effect} is no call of the log")


def _count(case: Case) -> None:
    """Everything that is worth knowing and breaks no promise."""
    verdict, evidence, log = case.verdict, case.evidence, case.log
    good = [message for message in case.messages if not (message.is_misplaced or message.is_poison)]
    verdict.messages = len({message.turn_id for message in good})
    verdict.repeated = len(good) - verdict.messages
    verdict.confirmed = len(evidence.confirmed)
    verdict.outcomes.update(type(accepted.event).__name__ for accepted in log.outcomes.values())
    verdict.rejected, verdict.openings = log.rejected, log.openings.total()
    asked = Counter((call["asked"], call["is_second"]) for call in evidence.calls)
    verdict.calls, verdict.repeated_calls = asked.total(), asked.total() - len(asked)
    verdict.pauses = measure_pauses(evidence, [(message.read, message.turn_id) for message in good])
