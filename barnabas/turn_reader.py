"""Reads one turn's tokens from a reader of the tokens topic."""

from __future__ import annotations

import time
from collections.abc import Callable

from barnabas.reader import TopicReader
from barnabas.stream_fold import Change, TurnFold
from schemas.errors import BrokerError
from schemas.serdes import Codec
from schemas.tokens import Token


def read_turn(
    reader: TopicReader,
    codec: Codec,
    *,
    key: bytes,
    turn_id: str,
    timeout_s: float,
    show: Callable[[Change], None],
) -> Token:
    """Show a turn's tokens until it ends, and return its terminal record.

    Args:
        reader: Of the session's partition of ``tokens``, made before the message was sent.
        codec: Decodes them.
        key: The session's.
        turn_id: The turn.
        timeout_s: Longest wait for the end, in seconds.
        show: Called with each change, in order.

    Raises:
        BrokerError: Nothing ended the turn in time.
    """
    fold = TurnFold()
    deadline = time.monotonic() + timeout_s
    while fold.outcome is None:
        if time.monotonic() > deadline:
            what = "the answer is not finished." if fold.attempt is not None else "nobody answers; is a worker running?"
            raise BrokerError(f"after {timeout_s:g} s {what} The message is in Kafka and will be answered")
        for record in reader.poll():
            if record.key != key:
                continue
            token = codec.decode_token(
                record.value, topic=reader.topic, partition=record.partition, offset=record.offset
            )
            if token.turn_id == turn_id:
                for change in fold.apply(token):
                    show(change)
    return fold.outcome
