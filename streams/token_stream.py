"""A turn's token stream: the first delta at once, later ones coalesced, each record counted until confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.attempt import Attempt
from schemas.errors import DeliveryUnknownError
from schemas.events import Usage
from schemas.tokens import Token, TokenKind, ToolUse
from streams.incoming import Incoming
from streams.publisher import Publisher

#: Longest time a later delta waits for more text. Below what a reader perceives, and enough to halve the records
#: of a model that emits a token every 2 ms.
COALESCE_S: Final = 0.005

#: While the broker is away records pile up until they time out: a later delta then waits the longer the more there
#: are, up to a second, so that a thousand turns leave a hundred thousand records behind, not millions.
MAX_COALESCE_S: Final = 1.0
BACKLOG: Final = 5_000
FULL_BACKLOG: Final = 50_000


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class TokenStream:
    """Writes one attempt's tokens in order; ``index`` counts from 0."""

    __slots__ = (
        "_confirmed",
        "_error",
        "_incoming",
        "_index",
        "_is_over",
        "_loop",
        "_partition",
        "_publisher",
        "_texts",
        "_timer",
        "_unconfirmed",
        "_waiting",
        "attempt",
        "deltas",
        "first_delta_at",
    )

    def __init__(self, publisher: Publisher, partition: int, incoming: Incoming, attempt: Attempt) -> None:
        self._publisher = publisher
        self._partition = partition
        self._incoming = incoming
        self.attempt = attempt
        self._is_over = False
        self._index = 0
        #: How many delta records were sent.
        self.deltas = 0
        #: When the first of them was sent (``time.perf_counter()``).
        self.first_delta_at = 0.0
        self._texts: list[str] = []
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._unconfirmed = 0
        self._error: DeliveryUnknownError | None = None
        self._confirmed: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def text(self) -> str:
        """All that was streamed so far."""
        return "".join(self._texts)

    @property
    def pieces(self) -> int:
        """How many pieces of text were streamed so far."""
        return len(self._texts)

    def text_since(self, piece: int) -> str:
        """What was streamed from that piece on."""
        return "".join(self._texts[piece:])

    def start(self, *, superseded: bool) -> None:
        """Send the attempt's first record, which tells readers to forget an earlier attempt."""
        self._send(TokenKind.SUPERSEDED if superseded else TokenKind.STARTED, None)

    def delta(self, text: str) -> None:
        """Add text to the stream."""
        if not text or self._is_over:
            return
        self._texts.append(text)
        if self._timer is not None:
            self._waiting.append(text)
            return
        self._send_delta(text)
        self._timer = self._loop.call_later(self._coalesce_s(), self._coalesced)

    def tool(self, use: ToolUse) -> None:
        """Say that a tool is called, or has returned; behind all text so far."""
        self.flush()
        self._send(TokenKind.TOOL, None, use)

    @property
    def next_index(self) -> int:
        """The index of the attempt's next record."""
        return self._index

    def flush(self) -> None:
        """Send what still waits to be coalesced."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            text = "".join(self._waiting)
            self._waiting.clear()
            self._send_delta(text)

    def abandon(self) -> None:
        """Send nothing more: the partition is lost, or the call that speaks was left behind."""
        self._is_over = True
        self._waiting.clear()
        self.flush()

    async def confirmed(self) -> None:
        """Wait until the broker has every record sent so far.

        Raises:
            DeliveryUnknownError: One of them timed out.
        """
        if self._unconfirmed:
            self._confirmed = self._loop.create_future()
            await self._confirmed
        if self._error is not None:
            raise self._error

    def _coalesced(self) -> None:
        self._timer = None
        if self._waiting:
            self.flush()
            self._timer = self._loop.call_later(self._coalesce_s(), self._coalesced)

    def _coalesce_s(self) -> float:
        publisher = self._publisher
        overdue = min(1.0, (publisher.backlog - BACKLOG) / (FULL_BACKLOG - BACKLOG))
        return max(COALESCE_S, publisher.gather_s, overdue * MAX_COALESCE_S)

    def _send_delta(self, text: str) -> None:
        if not self.deltas:
            self.first_delta_at = time.perf_counter()
        self.deltas += 1
        self._send(TokenKind.DELTA, text)

    def _send(self, kind: TokenKind, text: str | None, tool: ToolUse | None = None) -> None:
        if self._is_over:
            return
        incoming = self._incoming
        token = Token(
            session_id=incoming.session_id,
            turn_id=incoming.turn_id,
            message_id=incoming.message_id,
            attempt=self.attempt,
            epoch=self.attempt.epoch,
            index=self._index,
            kind=kind,
            text=text,
            tool=tool,
            occurred_at=now_ms(),
        )
        self._index += 1
        self._unconfirmed += 1
        self._publisher.token(self._partition, incoming.key, token, self._delivered, incoming.traceparent)

    def _delivered(self, error: DeliveryUnknownError | None, _offset: int) -> None:
        self._unconfirmed -= 1
        if error is not None:
            self._error = error
        if not self._unconfirmed and self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_result(None)


#: How a turn's stream ends, by its outcome's type; the other outcomes end none.
ENDINGS: Final[Mapping[str, TokenKind]] = MappingProxyType(
    {
        "TurnCompleted": TokenKind.COMPLETED,
        "TurnFailed": TokenKind.FAILED,
        "TurnCancelled": TokenKind.CANCELLED,
        "MessageRejected": TokenKind.FAILED,
        "SessionErased": TokenKind.COMPLETED,
    }
)


def terminal_token(
    incoming: Incoming,
    *,
    kind: TokenKind,
    attempt: Attempt,
    epoch: int,
    deltas: int,
    index: int,
    text: str | None = None,
    cause: str | None = None,
    detail: str | None = None,
    usage: Usage | None = None,
    finish_reason: str | None = None,
    retry_after_ms: int | None = None,
) -> Token:
    """Build the record that ends a turn's stream; it repeats text and number of deltas, so that a gap shows."""
    return Token(
        session_id=incoming.session_id,
        turn_id=incoming.turn_id,
        message_id=incoming.message_id,
        attempt=attempt,
        epoch=epoch,
        index=index,
        kind=kind,
        text=text,
        deltas=deltas,
        cause=cause,
        detail=detail,
        usage=usage,
        finish_reason=finish_reason,
        retry_after_ms=retry_after_ms,
        occurred_at=now_ms(),
    )
