"""One pass over a partition's log: its fold, and everything that is held against it on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import Message

from schemas.errors import DecodeError, UnknownEventError
from schemas.events import MessageQueued, PartitionOpened, SessionEvent, TurnSuspended
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.fold import OUTCOMES, Verdict
from state.partition_fold import PartitionFold
from state.value import PARTITION_KEY

#: ``(key, offset, value)`` after each applied record.
OnApplied = Callable[[bytes, int, Session | PartitionState], None]

#: ``(session, event, offset, is_final)`` of each accepted outcome.
OnOutcome = Callable[[Session, SessionEvent, int, bool], None]

_WAITING = (TurnSuspended, MessageQueued)


class LogFold:
    """Folds a partition's log from its beginning, as the projector does.

    Attributes:
        sessions: Every session of the partition, folded so far.
        partition: The partition's own fold.
        undecodable: Records that are none of ours; the projector puts them aside too.
        stopped_at: Offset of an event type that this version does not know, None if there was none (rule 6).
    """

    def __init__(
        self,
        partition: int,
        codec: Codec,
        *,
        only: bytes | None = None,
        on_applied: OnApplied | None = None,
        on_outcome: OnOutcome | None = None,
    ) -> None:
        """``only`` is the key of the one session to be folded; the epochs are those of the partition always."""
        self.partition = PartitionFold(PartitionState(partition=partition))
        self.sessions: dict[bytes, Session] = {}
        self.undecodable = 0
        self.stopped_at: int | None = None
        self._codec = codec
        self._only = only
        self._on_applied = on_applied
        self._on_outcome = on_outcome

    def feed(self, messages: Iterable[Message]) -> None:
        """Fold the next records."""
        decode, only = self._codec.decode_event, self._only
        for message in messages:
            if self.stopped_at is not None:
                return
            if only is not None and message.key() not in {only, None}:
                continue
            offset: int = message.offset()
            try:
                event = decode(message.value(), topic=message.topic(), partition=message.partition(), offset=offset)
            except UnknownEventError:
                self.stopped_at = offset
                return
            except DecodeError:
                self.undecodable += 1
                continue
            if isinstance(event, PartitionOpened):
                if self.partition.open(event, offset=offset) and self._on_applied is not None:
                    self._on_applied(PARTITION_KEY, offset, self.partition.state)
            else:
                self._apply(event, offset)

    def _apply(self, event: SessionEvent, offset: int) -> None:
        key = event.session_id.encode()
        session = self.sessions.get(key)
        if session is None:
            session = Session(session_id=event.session_id)
        folded, verdict = self.partition.apply(session, event, offset=offset)
        if verdict is not Verdict.APPLIED:
            return
        self.sessions[key] = folded
        if self._on_applied is not None:
            self._on_applied(key, offset, folded)
        if self._on_outcome is not None and isinstance(event, OUTCOMES):
            self._on_outcome(folded, event, offset, not isinstance(event, _WAITING))
