"""The longest silence of a stream that owes an answer."""

from __future__ import annotations

from tests.chaos.doctored import NAMES, Doctored, turn_of
from tests.chaos.judge import judge


def test_pauses_longest_silence_is_between_two_tokens_of_the_slow_turn() -> None:
    """Message at 1 s, tokens at 3, 4 and 9 s: 5 s of silence, 8 s to the end of the answer."""
    run = Doctored()
    run.open()
    run.answer("quick")
    run.answer("slow")
    messages, tokens = run.records[NAMES.messages], run.records[NAMES.tokens]
    messages[0], messages[1] = (record._replace(timestamp_ms=1000) for record in messages)
    for place, at_ms in enumerate((1000, 1000, 1000, 3000, 4000, 9000)):
        tokens[place] = tokens[place]._replace(timestamp_ms=at_ms)
    pauses = judge(run.evidence()).pauses
    assert (pauses.longest_s, pauses.turn_id, pauses.session_id) == (5.0, turn_of("slow"), "s")
    assert pauses.answer_max_s == 8.0
