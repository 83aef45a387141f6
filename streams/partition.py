"""One owned partition: its epoch, its barrier, its lanes.

Nothing begins before this owner's own ``PartitionOpened`` is folded: by then every outcome of the past is in the
table. That record's offset is the epoch of all that this owner writes.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from schemas.controls import CancelTurn, Control
from schemas.errors import DeliveryUnknownError, PartitionClosedError, StoreError
from schemas.events import Outcome, PartitionOpened, SessionEvent, ToolCalled
from schemas.ids import turn_id_for
from schemas.session import Session
from schemas.tokens import Token, TokenKind
from state.fold import OUTCOMES, Verdict, is_decided
from state.overlay import Receipt
from state.partition_fold import PartitionFold
from streams.early_cancels import EarlyCancels
from streams.environment import Environment
from streams.incoming import Incoming
from streams.lane import Lane
from streams.pool import Slot
from streams.shedding import retry_after_ms
from streams.token_stream import ENDINGS, now_ms, terminal_token
from streams.turn import MAX_REASON_CHARS, Turn

logger = logging.getLogger(__name__)

#: Pause before a terminal token whose delivery failed is sent again: twice is harmless, none is not.
RESEND_S: Final = 0.2


class Phase(Enum):
    """Where an owned partition stands."""

    CLOSED = auto()  #: Not begun, or its epoch is over.
    OPENING = auto()  #: Our ``PartitionOpened`` is on its way through the log.
    OPEN = auto()  #: Folded: lanes run.
    STOPPED = auto()  #: An unknown event type: a newer version has to take over (rule 6).


class Partition:
    """Runs the lanes of one partition for one ownership of it."""

    def __init__(
        self,
        number: int,
        fold: PartitionFold,
        env: Environment,
        *,
        generation: int,
        on_lost: Callable[[int, str], None],
    ) -> None:
        """Take the collaborators; ``on_lost(number, reason)`` asks for the partition to be reopened."""
        self.number = number
        self.fold = fold
        self.env = env
        self.generation = generation
        self.phase = Phase.CLOSED
        self.epoch = -1
        #: False once it went to another worker.
        self.is_owned = True
        self._on_lost = on_lost
        self._opening_id = ""
        self._lanes: dict[bytes, Lane] = {}
        self._turns: dict[str, Turn] = {}
        self._running: dict[str, Turn] = {}
        #: Turns that wait for a slot, by their message's offset.
        self.waiting_for_slot: dict[int, Slot] = {}
        #: How long the turns that run may take, in seconds, by their message's offset.
        self.deadlines: dict[int, float] = {}
        self._early_cancels = EarlyCancels(most=env.limits.max_early_cancels, keep_s=env.limits.turn_timeout_s)
        self._tasks: set[asyncio.Task[None]] = set()
        #: What was delivered before the barrier, in order.
        self._held: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether lanes run."""
        return self.phase is Phase.OPEN

    @property
    def messages_begun(self) -> int:
        """How many messages are begun or wait in lanes."""
        return sum(len(lane.waiting) + (lane.head is not None) for lane in self._lanes.values()) + len(self._held)

    @property
    def lanes_at_work(self) -> int:
        """How many lanes are at work; what waits for the barrier takes no other partition's room."""
        return len(self._lanes)

    @property
    def turns_begun(self) -> int:
        """How many turns run, or wait for a slot."""
        return len(self._running)

    # -- Epoch

    def open(self) -> None:
        """Append our ``PartitionOpened``; the lanes begin when it has been folded."""
        self.phase = Phase.OPENING
        self._opening_id = uuid.uuid4().hex
        event = PartitionOpened(
            event_id=self._opening_id, owner=self.env.worker, generation=self.generation, occurred_at=now_ms()
        )
        self.env.publisher.event(self.number, None, event, self.event_delivered)

    def opened(self, event: PartitionOpened, offset: int) -> None:
        """Hear of an opening that was folded at ``offset``, ours or another's."""
        if event.event_id == self._opening_id:
            if self.phase is Phase.OPENING:
                self.phase, self.epoch = Phase.OPEN, offset
                self.env.figures.epochs_opened += 1
                held, self._held = self._held, []
                for begin in held:
                    self.when_open(begin)  # one before it may have ended the epoch
        elif self.phase is Phase.OPEN:
            self._on_lost(self.number, f"{event.owner} opened it at offset {offset}")

    def close(self) -> None:
        """Drop the lanes at once, without another record; what was begun is delivered again to its next owner."""
        self.phase = Phase.CLOSED
        self._opening_id = ""
        self._held.clear()
        for turn in self._running.values():
            turn.abandon()
        for lane in self._lanes.values():
            lane.waiting.clear()
            if lane.task is not None:
                lane.task.cancel()
        for task in [*self._tasks]:
            task.cancel()
        self._lanes.clear()
        self._turns.clear()
        self._running.clear()
        self.waiting_for_slot.clear()
        self.deadlines.clear()
        self._early_cancels.clear()

    def stop(self, reason: str) -> None:
        """Stop for good: going on would corrupt sessions (rule 6)."""
        logger.error("partition %d stopped: %s", self.number, reason)
        self.close()
        self.phase = Phase.STOPPED

    def store_failed(self, error: StoreError) -> None:
        """End the worker: the next start's recovery wipes what is corrupt and fills it again.

        The lanes end at once. One that went on behind the message that could not be decided would decide the next,
        and that outcome says that everything before it is decided.
        """
        self.close()
        self.env.fail(error)

    def event_delivered(self, error: DeliveryUnknownError | None, _offset: int) -> None:
        """Hear of an event's delivery; unknown means that the partition has to be opened again."""
        if error is not None and self.phase in {Phase.OPENING, Phase.OPEN}:
            self._on_lost(self.number, f"an event's delivery is unknown: {error}")

    # -- Messages and controls

    def when_open(self, begin: Callable[[], None]) -> None:
        """Run ``begin`` now, or behind the barrier."""
        if self.phase is Phase.OPEN:
            begin()
        elif self.phase is not Phase.STOPPED:
            self._held.append(begin)

    def discard_held(self) -> None:
        """Forget what came behind a lost epoch: it is read again, behind what came before it."""
        self._held.clear()

    def offer(self, incoming: Incoming) -> None:
        """Put a message into its session's lane."""
        early = self._early_cancels.take(incoming.key, incoming.message_id, incoming.turn_id)
        lane = self._lanes.get(incoming.key)
        if lane is None:
            key = incoming.key
            lane = self._lanes[key] = Lane(self._decide, partial(self._lane_empty, key))
        lane.offer(incoming)
        if early is not None:
            self._cancel(lane, incoming, early.reason, early.acknowledge)

    def _lane_empty(self, key: bytes) -> None:
        self._lanes.pop(key, None)

    def control(self, key: bytes, control: Control, acknowledge: Receipt) -> None:
        """Carry out a control; acknowledged when what it asked for is in the log, or was already."""
        if not isinstance(control, CancelTurn):
            acknowledge()  # no turn suspends itself yet: there is nothing to approve or deny
            return
        reason = (control.reason or "cancelled")[:MAX_REASON_CHARS]
        lane = self._lanes.get(key)
        if lane is not None:
            for incoming in [lane.head, *lane.waiting]:
                if incoming is not None and _is_target(control, incoming):
                    self._cancel(lane, incoming, reason, acknowledge)
                    return
        deciding = self._turns.get(control.turn_id or turn_id_for(key.decode(), control.message_id or ""))
        if deciding is not None:  # withdrawn by an earlier cancel, its outcome on its way
            deciding.cancel(reason, acknowledge)
            return
        session = self.load(key)
        if any(
            control.message_id == decision.message_id
            or control.turn_id == turn_id_for(session.session_id, decision.message_id)
            for decision in session.recent
        ):
            acknowledge()  # finished: a no-op
            return
        self._early_cancels.remember(key, control.message_id or control.turn_id or "", reason, acknowledge)

    def _cancel(self, lane: Lane, incoming: Incoming, reason: str, acknowledge: Receipt) -> None:
        if incoming is lane.head:
            turn = self._running.get(incoming.turn_id)
            if turn is None:
                acknowledge()  # decided already: its outcome is only being repeated
            else:
                turn.cancel(reason, acknowledge)
            return
        if is_decided(self.load(incoming.key), incoming.message_id, incoming.offset):
            acknowledge()  # delivered again: its lane repeats its outcome
            return
        lane.withdraw(incoming)
        self.spawn(self._guarded(Turn(incoming, self).cancel_waiting(reason, acknowledge)))

    # -- Deciding

    async def _decide(self, incoming: Incoming) -> None:
        await self._guarded(self._decide_once(incoming))

    async def _decide_once(self, incoming: Incoming) -> None:
        session = self.load(incoming.key)
        if is_decided(session, incoming.message_id, incoming.offset):
            self.repeat_outcome(session, incoming, incoming.acknowledge)
            return
        turn = self._running[incoming.turn_id] = Turn(incoming, self)
        try:
            await turn.run()
        finally:
            turn.close()
            if self._running.get(incoming.turn_id) is turn:
                del self._running[incoming.turn_id]

    async def _guarded(self, decision: Coroutine[Any, Any, object]) -> None:
        """Turn what a turn cannot decide by itself into a reopening; nothing is ever raised to a lane."""
        try:
            await decision
        except (DeliveryUnknownError, PartitionClosedError) as exc:
            if self.phase is Phase.OPEN:
                self._on_lost(self.number, str(exc))
        except StoreError as exc:
            self.store_failed(exc)
        except Exception as exc:
            logger.exception("partition %d: a lane failed", self.number)
            if self.is_owned:  # else it is another's by now, or ours anew
                self._on_lost(self.number, repr(exc))

    def repeat_outcome(self, session: Session, incoming: Incoming, acknowledge: Receipt) -> None:
        """Answer a message that is decided already with its terminal token again; no model is called."""
        decision = next((d for d in reversed(session.recent) if d.message_id == incoming.message_id), None)
        if decision is None or decision.outcome not in ENDINGS:
            self.when_confirmed(incoming.key, acknowledge)
            self.env.write_path.flush(self.number)  # outside the projector's batch, nobody else does
            return
        answer = next(
            (entry.text for entry in reversed(session.memory)
             if entry.turn_id == incoming.turn_id and entry.role == "assistant"),
            None,
        )  # fmt: skip
        kind = ENDINGS[decision.outcome]
        token = terminal_token(
            incoming,
            kind=kind,
            attempt=decision.attempt,
            epoch=self.epoch,
            deltas=decision.deltas,
            index=decision.deltas + 1,
            text=answer,
            cause=decision.cause if kind is TokenKind.FAILED else None,
            detail=decision.cause,
            retry_after_ms=retry_after_ms(decision.cause, self.env.limits),
        )
        self.settle(incoming.key, token, acknowledge, incoming.traceparent)
        self.env.write_path.flush(self.number)

    def settle(self, key: bytes, token: Token, acknowledge: Receipt, traceparent: str | None = None) -> None:
        """Send a turn's last token; ``acknowledge`` when the broker has it and the session's newest value."""
        due = 2

        def receipt() -> None:
            nonlocal due
            due -= 1
            if not due:
                acknowledge()

        self.send_terminal(key, token, receipt, traceparent)
        self.when_confirmed(key, receipt)

    def send_terminal(self, key: bytes, token: Token, receipt: Receipt, traceparent: str | None = None) -> None:
        """Send a turn's last token until the broker has it, then call ``receipt``; ends with the epoch."""

        def delivered(error: DeliveryUnknownError | None, _offset: int) -> None:
            if error is None:
                receipt()
            elif self.is_open:
                asyncio.get_running_loop().call_later(RESEND_S, again, self.epoch)

        def again(epoch: int) -> None:
            if self.is_open and self.epoch == epoch:  # else the message is delivered again, and answered then
                self.send_terminal(key, token, receipt, traceparent)

        self.env.publisher.token(self.number, key, token, delivered, traceparent)

    # -- The table

    def load(self, key: bytes) -> Session:
        """Return a session as folded so far."""
        return self.env.write_path.load(self.number, key)

    def when_confirmed(self, key: bytes, receipt: Receipt) -> None:
        """Call ``receipt`` when the session's newest value is in the changelog and in RocksDB."""
        self.env.write_path.when_confirmed(self.number, key, receipt)

    # -- The projector's side

    def expect(self, turn: Turn) -> None:
        """Have the turn told when its outcome is folded."""
        self._turns[turn.incoming.turn_id] = turn

    def forget(self, turn: Turn) -> None:
        """End ``expect``."""
        if self._turns.get(turn.incoming.turn_id) is turn:
            del self._turns[turn.incoming.turn_id]

    def outcome_folded(self, session: Session, outcome: Outcome) -> None:
        """Hear of an accepted outcome."""
        turn = self._turns.get(outcome.turn_id)
        if turn is not None and outcome.attempt.epoch == self.epoch:
            turn.outcome_folded(session, outcome)

    def tool_called(self, event: ToolCalled, verdict: Verdict) -> None:
        """Hear what the fold made of a call of a tool."""
        turn = self._running.get(event.turn_id)
        if turn is not None and event.attempt.epoch == self.epoch:
            turn.tool_called(event, verdict)

    def rejected(self, event: SessionEvent, verdict: Verdict) -> None:
        """Hear of a record that the fold rejected."""
        turn = self._turns.get(event.turn_id)
        if turn is not None and event.attempt.epoch == self.epoch and isinstance(event, OUTCOMES):
            turn.outcome_rejected(verdict, self.load(turn.incoming.key))

    # -- Tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the lanes, for as long as the partition is open."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_target(control: CancelTurn, incoming: Incoming) -> bool:
    return control.message_id == incoming.message_id or control.turn_id == incoming.turn_id
