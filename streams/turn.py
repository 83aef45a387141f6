"""The turn engine: one message, one outcome.

Decide: read the session, append ``TurnStarted``, stream the model's deltas and use the tools it asks for, end in
exactly one outcome. The outcome counts when the projector has folded it; only then does the reader see the terminal
token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from schemas.attempt import Attempt
from schemas.commands import EraseSession, UserMessage
from schemas.errors import OF_THE_WORKER, BarnabasError, PartitionClosedError
from schemas.events import (
    MemoryCompacted,
    MessageRejected,
    Outcome,
    SessionErased,
    ToolCalled,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from schemas.ids import event_id_for
from schemas.session import OpenTurn, Session
from schemas.tokens import Token
from state.fold import Verdict, evolve
from state.overlay import Receipt
from streams.incoming import Incoming
from streams.monitoring.turn_context import enter_turn
from streams.prompt import prompt_for
from streams.providers.protocol import ChatMessage
from streams.shedding import OVERLOADED, is_late, retry_after_ms
from streams.stages import Stage, StageClock
from streams.steps import Steps
from streams.token_stream import ENDINGS, TokenStream, now_ms, terminal_token

if TYPE_CHECKING:
    from streams.partition import Partition

logger = logging.getLogger(__name__)

_STOP = "stop"

#: Longest reason of a cancel and longest detail of a failure that are kept, in characters.
MAX_REASON_CHARS: Final = 300


class Turn:
    """One message being decided by the partition's owner."""

    __slots__ = (
        "_acknowledge",
        "_agent",
        "_attempt",
        "_awaited",
        "_began",
        "_cancel_reason",
        "_env",
        "_folded",
        "_is_abandoned",
        "_partition",
        "_scope",
        "_stream",
        "_trace",
        "clock",
        "incoming",
    )

    def __init__(self, incoming: Incoming, partition: Partition) -> None:
        self._attempt = Attempt(partition.epoch, 0)
        self._trace = partition.env.tracing.turn(incoming, partition=partition.number, attempt=self._attempt)
        self.incoming = self._trace.passed_on(incoming)
        self.clock = StageClock()
        self._began = time.perf_counter()
        self._partition = partition
        self._env = partition.env
        self._agent = partition.env.agents[incoming.agent]
        self._stream: TokenStream | None = None
        self._scope: asyncio.Timeout | None = None
        self._cancel_reason: str | None = None
        self._folded: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._is_abandoned = False
        #: Calls of tools that wait for the fold, by event id.
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._acknowledge: list[Receipt] = [incoming.acknowledge]

    @property
    def identity(self) -> dict[str, Any]:
        """What its log lines name."""
        incoming, attempt = self.incoming, self._attempt
        return {
            "session": incoming.session_id,
            "turn": incoming.turn_id,
            "message_id": incoming.message_id,
            "attempt": attempt.number,
            "epoch": attempt.epoch,
            "partition": self._partition.number,
        }

    # -- Deciding

    async def run(self) -> None:
        """Decide the message.

        Raises:
            DeliveryUnknownError: Whether a record is in the log is unknown: the partition has to be reopened.
            PartitionClosedError: The outcome was rejected: another owner decides.
            StoreError: The session cannot be read: the worker has to end.
        """
        enter_turn(self)
        if isinstance(self.incoming.command, EraseSession):
            outcome: Outcome = self._erased(self.incoming.command)
        else:
            try:
                outcome = await self._answer_in_slot(self.incoming.command)
            except OF_THE_WORKER:
                raise
            except Exception as exc:  # a turn that cannot be made must not come again for ever
                logger.exception("turn %s failed", self.incoming.turn_id)
                outcome = self._failed(exc)
        self.clock.enter(Stage.RECORD)
        session = await self._record(outcome)
        self.clock.enter(None)
        self._ended(outcome)
        logger.debug("turn %s: %s, %s", self.incoming.turn_id, type(outcome).__name__, self.clock.seconds)
        if isinstance(outcome, TurnCompleted) and self._agent.evaluators:
            self._partition.spawn(self._evaluate(session, outcome))

    def cancel(self, reason: str, acknowledge: Receipt) -> None:
        """End the turn as cancelled, unless its outcome is already on its way; then acknowledge the order."""
        self._acknowledge.append(acknowledge)
        if self._cancel_reason is None:
            self._cancel_reason = reason
            if self._scope is not None and not self._scope.expired():
                self._scope.reschedule(asyncio.get_running_loop().time())

    def cancel_waiting(self, reason: str, acknowledge: Receipt) -> Coroutine[Any, Any, None]:
        """Decide a message that has not begun, ahead of its lane, as cancelled; returns what waits for the fold.

        Sent before this returns: the outcome of the lane's next message says that everything before it is decided.
        """
        self._acknowledge.append(acknowledge)
        self._cancel_reason = reason
        outcome = self._cancelled(decided_upto=-1)
        self._partition.expect(self)
        self.emit(outcome)
        return self._await_cancelled(outcome)

    async def _await_cancelled(self, outcome: TurnCancelled) -> None:
        enter_turn(self)
        await self._recorded()
        self._ended(outcome)

    def _ended(self, outcome: Outcome) -> None:
        self._trace.end(outcome)
        self._env.figures.turn_ended(self._agent.name, outcome, self._began, self._stream)

    async def _answer_in_slot(self, message: UserMessage) -> Outcome:
        if self._is_late():
            return self._shed()
        slot = self._env.pool.slot(self._agent)
        if slot.is_free:
            async with slot:
                return await self._answer(message)
        async with AsyncExitStack() as held:
            waiting, offset = self._partition.waiting_for_slot, self.incoming.offset
            waiting[offset] = slot
            try:
                async with asyncio.timeout(None) as self._scope:  # a cancel ends the wait
                    await held.enter_async_context(slot)
            except TimeoutError:
                return self._cancelled()
            finally:
                self._scope = None
                waiting.pop(offset, None)
            return self._shed() if self._is_late() else await self._answer(message)

    def _is_late(self) -> bool:
        return self._env.limits.shed_lag_s is not None and is_late(
            self.incoming, self._partition.load(self.incoming.key), self._env.limits
        )

    async def _answer(self, message: UserMessage) -> Outcome:
        self._stream = stream = TokenStream(self._env.publisher, self._partition.number, self.incoming, self._attempt)
        session, cut_off = self._begin(message, stream)
        limit = self._env.limits.turn_timeout_s
        if message.deadline_ms is not None:
            limit = min(limit, message.deadline_ms / 1000)
        self._partition.deadlines[self.incoming.offset] = limit
        scope = asyncio.timeout(limit)
        error: Exception | None = None
        finish_reason, usage = _STOP, Usage()
        try:
            async with scope:
                self._scope = scope
                if self._cancel_reason is not None:
                    return self._cancelled()
                self.clock.enter(Stage.PROVIDERS)
                provided = await self._provided(session)
                prompt = prompt_for(self._agent, session, message.text, provided)
                finish_reason, usage = await self._steps(stream).run(prompt, cut_off)
        except TimeoutError:
            if self._cancel_reason is None:
                error = _TurnTimeoutError(f"the turn took longer than {limit:g} s")
        except OF_THE_WORKER:
            raise
        except Exception as exc:
            if not isinstance(exc, BarnabasError):
                logger.exception("turn %s failed", self.incoming.turn_id)
            error = exc
        finally:
            self._scope = None
        self.clock.enter(Stage.RECORD)
        stream.flush()
        await stream.confirmed()
        self._trace.tokens_sent(stream)
        if self._cancel_reason is not None:
            return self._cancelled()
        if error is not None:
            return self._failed(error)
        return TurnCompleted(
            **self.envelope("outcome"),
            decided_upto=self.incoming.offset,
            text=stream.text,
            deltas=stream.deltas,
            finish_reason=finish_reason,
            usage=usage,
        )

    def _begin(self, message: UserMessage, stream: TokenStream) -> tuple[Session, OpenTurn | None]:
        """Say that the turn starts; returns its session, and the turn itself as an earlier attempt left it."""
        self.clock.enter(Stage.CONTEXT)
        session = self._compacted(self._partition.load(self.incoming.key))
        cut_off = session.open_turn
        if cut_off is not None and cut_off.turn_id != self.incoming.turn_id:
            cut_off = None
        self.emit(
            TurnStarted(
                **self.envelope("start"),
                text=message.text,
                agent=self._agent.name,
                model=self._agent.model,
                metadata=message.metadata,
                traceparent=self.incoming.traceparent,
            )
        )
        stream.start(superseded=cut_off is not None)
        return session, cut_off

    def _steps(self, stream: TokenStream) -> Steps:
        return Steps(
            self._env, self._agent, self.incoming, journal=self, stream=stream, clock=self.clock, trace=self._trace
        )

    async def _provided(self, session: Session) -> list[ChatMessage]:
        provided: list[ChatMessage] = []
        for provider in self._agent.context_providers:
            try:
                async with asyncio.timeout(self._agent.context_timeout_s):
                    name = f"context provider {provider.name} of turn {self.incoming.turn_id}"
                    provided += await self._env.calls.run(provider.provide(session, self.incoming), name)
            except Exception as exc:  # noqa: BLE001 -- a context provider is optional by contract
                logger.warning("context provider %s left out of %s: %r", provider.name, self.incoming.turn_id, exc)
        return provided

    async def _evaluate(self, session: Session, outcome: TurnCompleted) -> None:
        self.clock.enter(Stage.EVALUATE)
        for evaluator in self._agent.evaluators:
            try:
                async with asyncio.timeout(self._agent.evaluator_timeout_s):
                    name = f"evaluator {evaluator.name} of turn {self.incoming.turn_id}"
                    await self._env.calls.run(evaluator.evaluate(session, self.incoming, outcome), name)
            except Exception:
                logger.exception("evaluator %s failed for turn %s", evaluator.name, self.incoming.turn_id)
        self.clock.enter(None)

    def _compacted(self, session: Session) -> Session:
        compaction = self._agent.memory.compact(session)
        if compaction is None:
            return session
        event = MemoryCompacted(
            **self.envelope("compact"), dropped_until=compaction.dropped_until, summary=compaction.summary
        )
        self.emit(event)
        return evolve(session, event, offset=session.folded)

    # -- Recording

    def emit(self, event: Any) -> None:
        """Append an event of this turn to the log; nothing once the partition is lost."""
        if self._is_abandoned:
            return
        self._env.publisher.event(
            self._partition.number, self.incoming.key, event, self._partition.event_delivered, self.incoming.traceparent
        )

    async def accepted(self, event: ToolCalled) -> None:
        """Append an event and wait until it was folded as accepted.

        Raises:
            PartitionClosedError: It was rejected: another owner goes on with the turn.
        """
        waiting = self._awaited[event.event_id] = asyncio.get_running_loop().create_future()
        try:
            self.emit(event)
            await waiting
        finally:
            del self._awaited[event.event_id]

    def tool_called(self, event: ToolCalled, verdict: Verdict) -> None:
        """Hear what the fold made of one of this turn's calls."""
        waiting = self._awaited.get(event.event_id)
        if waiting is None or waiting.done():
            return
        if verdict in {Verdict.APPLIED, Verdict.REPEATED}:
            waiting.set_result(None)
        else:
            waiting.set_exception(PartitionClosedError(f"tool call rejected: {verdict}"))

    async def _record(self, outcome: Outcome) -> Session:
        self._partition.expect(self)
        self.emit(outcome)
        return await self._recorded()

    async def _recorded(self) -> Session:
        try:
            return await self._folded
        finally:
            self._partition.forget(self)

    def outcome_folded(self, session: Session, outcome: Outcome) -> None:
        """Tell the readers and let the lane go on; called by the projector in the middle of a batch."""
        token = self._terminal(outcome)
        self._partition.settle(self.incoming.key, token, self._done, self.incoming.traceparent)
        if not self._folded.done():
            self._folded.set_result(session)

    def outcome_rejected(self, verdict: Verdict, session: Session) -> None:
        """The log decided otherwise: another copy of the message came first, or another owner."""
        if verdict is Verdict.DECIDED:
            # Nobody may have told the readers: who decided it first may have died before it could.
            self._partition.repeat_outcome(session, self.incoming, self._done)
            if not self._folded.done():
                self._folded.set_result(session)
        elif not self._folded.done():
            self._folded.set_exception(PartitionClosedError(f"outcome rejected: {verdict}"))

    def _done(self) -> None:
        for acknowledge in self._acknowledge:
            acknowledge()

    def _terminal(self, outcome: Outcome) -> Token:
        deltas = self._stream.deltas if self._stream is not None else 0
        text, cause, detail, usage, finish_reason = None, None, None, None, None
        if isinstance(outcome, TurnCompleted):
            text, usage, finish_reason = outcome.text, outcome.usage, outcome.finish_reason
        elif isinstance(outcome, TurnFailed):
            cause, detail = outcome.cause, outcome.detail
        elif isinstance(outcome, MessageRejected):
            cause, detail = outcome.reason, outcome.detail
        elif isinstance(outcome, TurnCancelled):
            text, detail = outcome.text, outcome.reason
        return terminal_token(
            self.incoming,
            kind=ENDINGS[type(outcome).__name__],
            attempt=self._attempt,
            epoch=self._attempt.epoch,
            deltas=deltas,
            index=self._stream.next_index if self._stream is not None else 0,
            text=text,
            cause=cause,
            detail=detail,
            usage=usage,
            finish_reason=finish_reason,
            retry_after_ms=retry_after_ms(cause, self._env.limits),
        )

    # -- Outcomes

    def envelope(self, step: str) -> dict[str, Any]:
        """Return what each event of this turn carries; ``step`` names it within the attempt."""
        incoming = self.incoming
        return {
            "event_id": event_id_for(incoming.turn_id, self._attempt, step),
            "session_id": incoming.session_id,
            "turn_id": incoming.turn_id,
            "message_id": incoming.message_id,
            "attempt": self._attempt,
            "source_offset": incoming.offset,
            "occurred_at": now_ms(),
        }

    def _failed(self, error: Exception) -> TurnFailed:
        return TurnFailed(
            **self.envelope("outcome"),
            decided_upto=self.incoming.offset,
            cause=error.code if isinstance(error, BarnabasError) else "internal",
            detail=(str(error) if isinstance(error, BarnabasError) else repr(error))[:MAX_REASON_CHARS],
            deltas=self._stream.deltas if self._stream is not None else 0,
        )

    def _cancelled(self, *, decided_upto: int | None = None) -> TurnCancelled:
        return TurnCancelled(
            **self.envelope("outcome"),
            decided_upto=self.incoming.offset if decided_upto is None else decided_upto,
            reason=self._cancel_reason or "cancelled",
            text=self._stream.text if self._stream is not None else "",
            deltas=self._stream.deltas if self._stream is not None else 0,
        )

    def _shed(self) -> MessageRejected:
        return MessageRejected(
            **self.envelope("outcome"),
            decided_upto=self.incoming.offset,
            reason=OVERLOADED,
            detail=f"the message is older than {self._env.limits.shed_lag_s:g} s",
        )

    def _erased(self, command: EraseSession) -> SessionErased:
        return SessionErased(
            **self.envelope("outcome"),
            decided_upto=self.incoming.offset,
            reason=(command.reason or "")[:MAX_REASON_CHARS],
        )

    def close(self) -> None:
        """Hear that nothing follows, outcome or not."""
        self._trace.end()
        self._partition.deadlines.pop(self.incoming.offset, None)

    def abandon(self) -> None:
        """The partition is lost: write nothing more."""
        self._is_abandoned = True
        if self._stream is not None:
            self._stream.abandon()
        if not self._folded.done():
            self._folded.cancel()


class _TurnTimeoutError(BarnabasError):
    """The turn outlived its total deadline."""

    code = "turn_timeout"
