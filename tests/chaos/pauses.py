"""What a subscriber waits for: the longest silence of a stream that owes an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.tokens import TERMINAL_KINDS
from tests.chaos.evidence import Evidence
from tests.support.checker import wire_codec
from tests.support.topic_reader import Read


@dataclass(frozen=True, slots=True)
class Pauses:
    """Silences, by the records' own times.

    Attributes:
        longest_s: The longest time between a message or a token and the next token of its turn, in seconds.
        session_id: Whose.
        turn_id: Which turn's.
        answer_p50_s: From a message to its terminal token, the median.
        answer_max_s: ... and the longest, waiting behind other messages included.
    """

    longest_s: float = 0.0
    session_id: str = ""
    turn_id: str = ""
    answer_p50_s: float = 0.0
    answer_max_s: float = 0.0


def measure_pauses(evidence: Evidence, messages: Iterable[tuple[Read, str]]) -> Pauses:
    """Measure every message of ``(record, turn_id)``; copies of a message count from the first."""
    began: dict[str, int] = {}
    sessions: dict[str, str] = {}
    for read, turn_id in messages:
        began[turn_id] = min(read.timestamp_ms, began.get(turn_id, read.timestamp_ms))
        sessions[turn_id] = (read.key or b"").decode(errors="replace")
    topic, codec = evidence.names.tokens, wire_codec()
    times: dict[str, list[int]] = defaultdict(list)
    ended: dict[str, int] = {}
    for read in evidence.of(topic):
        token = codec.decode_token(read.value, topic=topic, partition=read.partition, offset=read.offset)
        if token.turn_id in ended:
            continue
        times[token.turn_id].append(read.timestamp_ms)
        if token.kind in TERMINAL_KINDS:
            ended[token.turn_id] = read.timestamp_ms
    silences = [
        (later - earlier, turn_id)
        for turn_id, start in began.items()
        for earlier, later in zip([start, *times[turn_id]], times[turn_id], strict=False)
    ]
    answers = sorted(ended[turn_id] - start for turn_id, start in began.items() if turn_id in ended)
    if not answers or not silences:
        return Pauses()
    longest, turn_id = max(silences)
    return Pauses(longest / 1000, sessions[turn_id], turn_id, answers[len(answers) // 2] / 1000, answers[-1] / 1000)
