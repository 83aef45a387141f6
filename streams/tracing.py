"""Where a turn tells what it does, for traces; off unless somebody asks, and then nothing is told or paid."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from schemas.attempt import Attempt
    from schemas.events import Outcome
    from streams.agent import Agent
    from streams.incoming import Incoming
    from streams.providers.protocol import ModelDelta, ModelRequest
    from streams.token_stream import TokenStream

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class TurnTrace:
    """One turn's trace; this one tells nobody."""

    __slots__ = ()

    def passed_on(self, incoming: Incoming) -> Incoming:
        """Return the message as the turn's records carry it on: its ``traceparent`` is the turn's."""
        return incoming

    def model_call(
        self, agent: Agent, request: ModelRequest, deltas: AsyncGenerator[ModelDelta, None]
    ) -> AsyncGenerator[ModelDelta, None]:
        """Return the deltas of a model call, each seen on its way; closing them closes the call."""
        del agent, request
        return deltas

    def tool(self, name: str, call_id: str) -> AbstractContextManager[None]:
        """Return what a tool's run stands in: ``with trace.tool(name, call_id): ...``."""
        del name, call_id
        return _NOTHING

    def tokens_sent(self, stream: TokenStream) -> None:
        """Hear that all of a turn's tokens but the last are confirmed."""

    def end(self, outcome: Outcome | None = None) -> None:
        """Hear of the folded outcome, or that the turn ends here without one; the first call counts."""


class Tracing:
    """Makes the trace of each turn; this one makes none."""

    _trace: Final = TurnTrace()

    def turn(self, incoming: Incoming, *, partition: int, attempt: Attempt) -> TurnTrace:
        """Return the trace of a turn that begins."""
        del incoming, partition, attempt
        return self._trace

    def close(self) -> None:
        """Hand over what is left; blocks for a bounded time."""


NO_TRACING: Final = Tracing()
