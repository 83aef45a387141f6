"""The turn engine: one message, one model call, one outcome.

Decide: read the session, append ``TurnStarted``, stream the model's deltas, end in exactly one outcome. The
outcome counts when the projector has folded it; only then does the reader see the terminal token.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, Final

from schemas.attempt import Attempt
from schemas.commands import EraseSession, UserMessage
from schemas.errors import BarnabasError, DeliveryUnknownError, PartitionClosedError, PoolTimeoutError, ProviderError
from schemas.events import (
    MemoryCompacted,
    Outcome,
    SessionErased,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from schemas.ids import event_id_for
from schemas.session import Session
from schemas.tokens import Token, TokenKind
from state.fold import Verdict, evolve
from state.overlay import Receipt
from streams.incoming import Incoming
from streams.prompt import prompt_for
from streams.providers.limits import bounded
from streams.providers.protocol import ChatMessage, ModelRequest
from streams.stages import Stage, StageClock
from streams.token_stream import TokenStream, now_ms, terminal_token

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
        "_cancel_reason",
        "_env",
        "_folded",
        "_partition",
        "_receipts_due",
        "_scope",
        "_stream",
        "clock",
        "incoming",
    )

    def __init__(self, incoming: Incoming, partition: Partition) -> None:
        self.incoming = incoming
        self.clock = StageClock()
        self._partition = partition
        self._env = partition.env
        self._agent = partition.env.agents[incoming.agent]
        self._attempt = Attempt(partition.epoch, 0)
        self._stream: TokenStream | None = None
        self._scope: asyncio.Timeout | None = None
        self._cancel_reason: str | None = None
        self._folded: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self._receipts_due = 2  # the changelog record and the terminal token
        self._acknowledge: list[Receipt] = [incoming.acknowledge]

    # -- Deciding

    async def run(self) -> None:
        """Decide the message.

        Raises:
            DeliveryUnknownError: Whether a record is in the log is unknown: the partition has to be reopened.
            PartitionClosedError: The outcome was rejected: another owner decides.
        """
        if isinstance(self.incoming.command, EraseSession):
            outcome: Outcome = self._erased(self.incoming.command)
        else:
            try:
                outcome = await self._answer_in_slot(self.incoming.command)
            except (DeliveryUnknownError, PartitionClosedError):
                raise
            except Exception as exc:  # a turn that cannot be made must not come again for ever
                if not isinstance(exc, PoolTimeoutError):
                    logger.exception("turn %s failed", self.incoming.turn_id)
                outcome = self._failed(exc)
        self.clock.enter(Stage.RECORD)
        session = await self._record(outcome)
        self.clock.enter(None)
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

    async def cancel_waiting(self, reason: str, acknowledge: Receipt) -> None:
        """Decide a message that has not begun, ahead of its lane, as cancelled."""
        self._acknowledge.append(acknowledge)
        self._cancel_reason = reason
        await self._record(self._cancelled(decided_upto=-1))

    async def _answer_in_slot(self, message: UserMessage) -> Outcome:
        slot = self._env.pool.slot(self._agent)
        if slot.is_free:
            async with slot:
                return await self._answer(message)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(None) as self._scope:  # a cancel ends the wait
                    await held.enter_async_context(slot)
            except TimeoutError:
                return self._cancelled()
            finally:
                self._scope = None
            return await self._answer(message)

    async def _answer(self, message: UserMessage) -> Outcome:
        self.clock.enter(Stage.CONTEXT)
        session = self._compacted(self._partition.load(self.incoming.key))
        before = session.open_turn
        self._stream = stream = TokenStream(self._env.publisher, self._partition.number, self.incoming, self._attempt)
        self._emit(
            TurnStarted(
                **self._envelope("start"),
                text=message.text,
                agent=self._agent.name,
                model=self._agent.model,
                metadata=message.metadata,
                traceparent=self.incoming.traceparent,
            )
        )
        stream.start(superseded=before is not None and before.turn_id == self.incoming.turn_id)
        limit = self._env.limits.turn_timeout_s
        if message.deadline_ms is not None:
            limit = min(limit, message.deadline_ms / 1000)
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
                self.clock.enter(Stage.GENERATE)
                finish_reason, usage = await self._generate(prompt_for(self._agent, session, message.text, provided))
        except TimeoutError:
            if self._cancel_reason is None:
                error = _TurnTimeoutError(f"the turn took longer than {limit:g} s")
        except Exception as exc:
            if not isinstance(exc, BarnabasError):
                logger.exception("turn %s failed", self.incoming.turn_id)
            error = exc
        finally:
            self._scope = None
        self.clock.enter(Stage.RECORD)
        stream.flush()
        await stream.confirmed()
        if self._cancel_reason is not None:
            return self._cancelled()
        if error is not None:
            return self._failed(error)
        return TurnCompleted(
            **self._envelope("outcome"),
            decided_upto=self.incoming.offset,
            text=stream.text,
            deltas=stream.deltas,
            finish_reason=finish_reason,
            usage=usage,
        )

    async def _generate(self, prompt: tuple[ChatMessage, ...]) -> tuple[str, Usage]:
        agent = self._agent
        request = ModelRequest(
            messages=prompt,
            max_tokens=agent.max_tokens,
            temperature=agent.temperature,
            session_id=self.incoming.session_id,
            turn_id=self.incoming.turn_id,
        )
        finish_reason, usage = _STOP, Usage()
        if self._stream is None:  # _answer() made it; kept total
            return finish_reason, usage
        send, room = self._stream.delta, self._env.limits.max_answer_chars
        async with aclosing(bounded(agent.provider.stream(request), agent.timeouts)) as deltas:
            async for delta in deltas:
                room -= len(delta.text)
                if room < 0:
                    msg = f"the answer is longer than {self._env.limits.max_answer_chars} characters"
                    raise ProviderError(msg)
                send(delta.text)
                if delta.finish_reason is not None:
                    finish_reason = delta.finish_reason
                if delta.usage is not None:
                    usage = Usage(
                        prompt_tokens=delta.usage.prompt_tokens, completion_tokens=delta.usage.completion_tokens
                    )
        return finish_reason, usage

    async def _provided(self, session: Session) -> list[ChatMessage]:
        provided: list[ChatMessage] = []
        for provider in self._agent.context_providers:
            try:
                async with asyncio.timeout(self._agent.context_timeout_s):
                    provided += await provider.provide(session, self.incoming)
            except Exception as exc:  # noqa: BLE001 -- a context provider is optional by contract
                logger.warning("context provider %s left out of %s: %r", provider.name, self.incoming.turn_id, exc)
        return provided

    async def _evaluate(self, session: Session, outcome: TurnCompleted) -> None:
        self.clock.enter(Stage.EVALUATE)
        for evaluator in self._agent.evaluators:
            try:
                await evaluator.evaluate(session, self.incoming, outcome)
            except Exception:
                logger.exception("evaluator %s failed for turn %s", evaluator.name, self.incoming.turn_id)
        self.clock.enter(None)

    def _compacted(self, session: Session) -> Session:
        compaction = self._agent.memory.compact(session)
        if compaction is None:
            return session
        event = MemoryCompacted(
            **self._envelope("compact"), dropped_until=compaction.dropped_until, summary=compaction.summary
        )
        self._emit(event)
        return evolve(session, event, offset=session.folded)

    # -- Recording

    def _emit(self, event: Any) -> None:
        self._env.publisher.event(
            self._partition.number, self.incoming.key, event, self._partition.event_delivered, self.incoming.traceparent
        )

    async def _record(self, outcome: Outcome) -> Session:
        self._partition.expect(self)
        try:
            self._emit(outcome)
            return await self._folded
        finally:
            self._partition.forget(self)

    def outcome_folded(self, session: Session, outcome: Outcome) -> None:
        """Tell the readers and let the lane go on; called by the projector in the middle of a batch."""
        token = self._terminal(outcome)
        self._partition.send_terminal(self.incoming.key, token, self._receipt, self.incoming.traceparent)
        self._partition.when_confirmed(self.incoming.key, self._receipt)
        if not self._folded.done():
            self._folded.set_result(session)

    def outcome_rejected(self, verdict: Verdict, session: Session) -> None:
        """The log decided otherwise: another copy of the message came first, or another owner."""
        if verdict is Verdict.DECIDED:
            self._receipts_due = 1
            self._partition.when_confirmed(self.incoming.key, self._receipt)
            if not self._folded.done():
                self._folded.set_result(session)
        elif not self._folded.done():
            self._folded.set_exception(PartitionClosedError(f"outcome rejected: {verdict}"))

    def _receipt(self) -> None:
        self._receipts_due -= 1
        if self._receipts_due == 0:
            for acknowledge in self._acknowledge:
                acknowledge()

    def _terminal(self, outcome: Outcome) -> Token:
        deltas = self._stream.deltas if self._stream is not None else 0
        kind, text, cause, detail, usage = TokenKind.COMPLETED, None, None, None, None
        if isinstance(outcome, TurnCompleted):
            text, usage = outcome.text, outcome.usage
        elif isinstance(outcome, TurnFailed):
            kind, cause, detail = TokenKind.FAILED, outcome.cause, outcome.detail
        elif isinstance(outcome, TurnCancelled):
            kind, text, detail = TokenKind.CANCELLED, outcome.text, outcome.reason
        return terminal_token(
            self.incoming,
            kind=kind,
            attempt=self._attempt,
            epoch=self._attempt.epoch,
            deltas=deltas,
            index=deltas + 1 if self._stream is not None else 0,
            text=text,
            cause=cause,
            detail=detail,
            usage=usage,
        )

    # -- Outcomes

    def _envelope(self, step: str) -> dict[str, Any]:
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
            **self._envelope("outcome"),
            decided_upto=self.incoming.offset,
            cause=error.code if isinstance(error, BarnabasError) else "internal",
            detail=(str(error) if isinstance(error, BarnabasError) else repr(error))[:MAX_REASON_CHARS],
            deltas=self._stream.deltas if self._stream is not None else 0,
        )

    def _cancelled(self, *, decided_upto: int | None = None) -> TurnCancelled:
        return TurnCancelled(
            **self._envelope("outcome"),
            decided_upto=self.incoming.offset if decided_upto is None else decided_upto,
            reason=self._cancel_reason or "cancelled",
            text=self._stream.text if self._stream is not None else "",
            deltas=self._stream.deltas if self._stream is not None else 0,
        )

    def _erased(self, command: EraseSession) -> SessionErased:
        return SessionErased(
            **self._envelope("outcome"),
            decided_upto=self.incoming.offset,
            reason=(command.reason or "")[:MAX_REASON_CHARS],
        )

    def abandon(self) -> None:
        """The partition is lost: write nothing more."""
        if self._stream is not None:
            self._stream.abandon()
        if not self._folded.done():
            self._folded.cancel()


class _TurnTimeoutError(BarnabasError):
    """The turn outlived its total deadline."""

    code = "turn_timeout"
