"""Folds records of one partition in log order, and says what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Message

from barnabas.history.index import Opening
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.spilled import SpilledSessions
from schemas.errors import DecodeError
from schemas.events import LogEvent, PartitionOpened
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from state.fold import Verdict
from state.partition_fold import PartitionFold

#: What a session was before the first record that is judged.
Load = Callable[[bytes], Session]


def empty_session(key: bytes) -> Session:
    """Return a session before its first event."""
    return Session(session_id=key.decode(errors="replace"))


class Judge:
    """The fold that the table uses, over a reader's records.

    Args:
        partition: Its number.
        topic: The log's name.
        codec: Decodes it.
        openings: Those before the first record; the fold remembers the last of them, as the table does.
        load: Asked once for each session.
    """

    def __init__(
        self,
        partition: int,
        topic: str,
        codec: Codec,
        *,
        openings: Sequence[Opening] = (),
        load: Load = empty_session,
    ) -> None:
        state = PartitionState(partition=partition)
        if openings:
            last = openings[-1]
            epochs = tuple(opening.offset for opening in openings)
            state = PartitionState(partition=partition, folded=last.offset, epochs=epochs, owner=last.owner)
        self._fold = PartitionFold(state)
        self._topic = topic
        self._codec = codec
        self._load = load
        self._sessions = SpilledSessions(codec)

    def opened(self, opening: Opening) -> None:
        """Fold an opening of which only owner and offset are known."""
        event = PartitionOpened(event_id="", owner=opening.owner, generation=0, occurred_at=0)
        self._fold.open(event, offset=opening.offset)

    def judge(self, message: Message) -> LoggedEvent:
        """Fold the next record.

        Raises:
            UnknownEventError: A newer version wrote it: what follows cannot be folded (rule 6).
        """
        partition, offset = message.partition(), message.offset()
        timestamp_ms = message.timestamp()[1]
        try:
            event = self._codec.decode_event(message.value(), topic=self._topic, partition=partition, offset=offset)
        except DecodeError as error:  # put aside by the projector, too
            return LoggedEvent(
                partition=partition,
                offset=offset,
                timestamp_ms=timestamp_ms,
                event=None,
                verdict=None,
                error=error.cause,
            )
        verdict = self._apply(event, offset)
        return LoggedEvent(partition=partition, offset=offset, timestamp_ms=timestamp_ms, event=event, verdict=verdict)

    def session(self, key: bytes) -> Session:
        """Return a session behind the last record."""
        session = self._sessions.get(key)
        return self._load(key) if session is None else session

    def close(self) -> None:
        """Release what the sessions take."""
        self._sessions.close()

    def _apply(self, event: LogEvent, offset: int) -> Verdict:
        if isinstance(event, PartitionOpened):
            return Verdict.APPLIED if self._fold.open(event, offset=offset) else Verdict.REPEATED
        key = event.session_id.encode()
        self._sessions[key], verdict = self._fold.apply(self.session(key), event, offset=offset)
        return verdict
