"""A worker that notes how long each admitted turn waits for its first token; ``benchmarks.overload`` runs it.

``python -m benchmarks.admitted FILE worker --json``: the command line as it is, with two methods wrapped. A turn is
admitted when its message is taken from Kafka into its session's lane; it has its first token when the broker has
confirmed its first delta. ``FILE`` gets pairs of doubles at the worker's end: when it was admitted (Unix time, in
seconds) and how long the first token took (in seconds).
"""

from __future__ import annotations

import sys
import time
from array import array
from pathlib import Path
from typing import Any

from barnabas.__main__ import main
from schemas.tokens import Token, TokenKind
from streams.incoming import Incoming
from streams.lane import Lane
from streams.publisher import Publisher

WAITS = array("d")


def wrap() -> None:
    """Note the times; a turn costs a microsecond more."""
    offer, send = Lane.offer, Publisher.token
    admitted: dict[str, float] = {}

    def noted(self: Lane, incoming: Incoming) -> None:
        admitted[incoming.turn_id] = time.time()
        offer(self, incoming)

    def timed(self: Publisher, partition: int, key: bytes, token: Token, on_delivery: Any, *more: Any) -> None:
        began = admitted.pop(token.turn_id, None) if token.kind is not TokenKind.STARTED else None
        if began is None or token.kind is not TokenKind.DELTA:
            send(self, partition, key, token, on_delivery, *more)
            return

        def delivered(error: Any, offset: int) -> None:
            WAITS.extend((began, time.time() - began))
            on_delivery(error, offset)

        send(self, partition, key, token, delivered, *more)

    Lane.offer = noted  # type: ignore[method-assign]
    Publisher.token = timed  # type: ignore[method-assign]


if __name__ == "__main__":
    path = Path(sys.argv.pop(1))
    wrap()
    try:
        sys.exit(main())
    finally:
        path.write_bytes(WAITS.tobytes())
