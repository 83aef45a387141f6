"""A small run written by hand, clean as it stands: tests take one thing out of it, or put one in."""

from __future__ import annotations

import json
from typing import Any

from msgspec import structs

from schemas.attempt import PUT_ASIDE, Attempt
from schemas.dead_letters import DeadLetter
from schemas.events import (
    MessageRejected,
    PartitionOpened,
    SessionErased,
    StepCompleted,
    ToolCall,
    ToolCalled,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from schemas.ids import event_id_for, message_id_at, turn_id_for
from schemas.serdes import Codec
from schemas.session import Decision, MemoryEntry, Session
from schemas.tokens import Token, TokenKind
from state.value import ValueCodec
from tests.chaos.evidence import Database, Evidence
from tests.chaos.load import MARK, Action, Confirmed
from tests.chaos.sampler import Sample
from tests.support.topic_reader import Read
from topics.names import TopicNames

NAMES = TopicNames("doctored")
SESSION = "s"
_CODEC = Codec()
_KEY = SESSION.encode()


def turn_of(message_id: str) -> str:
    """The turn that answers a message of the session."""
    return turn_id_for(SESSION, message_id)


class Doctored:
    """One partition, one session, one worker; each call appends to the topics."""

    def __init__(self) -> None:
        self.records: dict[str, list[Read]] = {topic: [] for topic in NAMES.all}
        self.confirmed: list[Confirmed] = []
        self.samples: list[Sample] = []
        self.databases: list[Database] = []
        self.epoch = -1
        self.session = Session(session_id=SESSION)

    def evidence(self, **fields: Any) -> Evidence:
        """Return it for the judge."""
        return Evidence(NAMES, 1, self.records, self.confirmed, self.samples, self.databases, **fields)

    # -- What users do

    def publish(self, message_id: str, *, mark: str = Action.PLAIN, value: bytes | None = None) -> int:
        """Publish and confirm a message; returns its offset."""
        body = value or json.dumps({"text": message_id, "message_id": message_id}).encode()
        offset = self._append(NAMES.messages, body, headers=[(MARK, mark.encode())])
        self.confirmed.append(Confirmed(mark, "first", len(self.confirmed), SESSION, message_id, 0, offset))
        return offset

    def cancel(self, message_id: str) -> int:
        """Order a cancel; returns its offset."""
        order = json.dumps({"type": "cancel", "message_id": message_id}).encode()
        return self._append(NAMES.control, order, headers=[(MARK, b"control")])

    # -- What a worker does

    def open(self) -> None:
        """Begin an epoch."""
        event = PartitionOpened(event_id=f"o{self.epoch}", owner="w1", generation=1, occurred_at=1)
        self.epoch = self._append(NAMES.events, _CODEC.encode(event))

    def start(self, message_id: str, source: int, *, number: int = 0, text: str | None = None) -> Attempt:
        """Begin a turn, and say the first word of its answer."""
        attempt = Attempt(self.epoch, number)
        event = TurnStarted(**_envelope(message_id, source, attempt, "start"), text=message_id, agent="a", model="m")
        self._append(NAMES.events, _CODEC.encode(event))
        kind = TokenKind.SUPERSEDED if number else TokenKind.STARTED
        self.token(message_id, attempt, 0, kind)
        self.token(message_id, attempt, 1, TokenKind.DELTA, text or f"said by {attempt.number}")
        return attempt

    def call_tool(self, message_id: str, source: int, attempt: Attempt, call_id: str) -> None:
        """Have the log accept a tool call."""
        call = ToolCall(call_id=call_id, name="note")
        envelope = _envelope(message_id, source, attempt, "step")
        self._append(NAMES.events, _CODEC.encode(StepCompleted(**envelope, step=0, text="", tool_calls=(call,))))
        envelope = _envelope(message_id, source, attempt, call_id)
        self._append(NAMES.events, _CODEC.encode(ToolCalled(**envelope, step=0, call=call)))

    def complete(self, message_id: str, source: int, attempt: Attempt, text: str | None = None) -> None:
        """End it; the table follows."""
        text = text or f"said by {attempt.number}"
        event = TurnCompleted(
            **_envelope(message_id, source, attempt, "outcome"), decided_upto=source, text=text, deltas=1
        )
        offset = self._append(NAMES.events, _CODEC.encode(event))
        self.remember(event, offset)
        self.token(message_id, attempt, 2, TokenKind.COMPLETED, text, deltas=1)

    def answer(self, message_id: str, text: str | None = None) -> int:
        """Publish a message and do all that follows; returns its offset."""
        source = self.publish(message_id)
        self.complete(message_id, source, self.start(message_id, source, text=text), text)
        return source

    def fail(self, message_id: str, source: int, cause: str) -> Attempt:
        """Begin a turn and end it without an answer; the table follows."""
        attempt = self.start(message_id, source)
        envelope = _envelope(message_id, source, attempt, "outcome")
        self._decide(TurnFailed(**envelope, decided_upto=source, cause=cause, detail="no", deltas=1))
        self.token(message_id, attempt, 2, TokenKind.FAILED, cause=cause, deltas=1)
        return attempt

    def stop(self, message_id: str, source: int) -> Attempt:
        """Begin a turn and end it as cancelled; the table follows."""
        attempt = self.start(message_id, source)
        envelope = _envelope(message_id, source, attempt, "outcome")
        self._decide(TurnCancelled(**envelope, decided_upto=source, text="said by 0", deltas=1))
        self.token(message_id, attempt, 2, TokenKind.CANCELLED, "said by 0", deltas=1)
        return attempt

    def erase(self, message_id: str, source: int) -> Attempt:
        """Empty the session; the table follows."""
        attempt = Attempt(self.epoch, 0)
        self.session = structs.replace(self.session, memory=())
        self._decide(SessionErased(**_envelope(message_id, source, attempt, "outcome"), decided_upto=source))
        self.token(message_id, attempt, 0, TokenKind.COMPLETED, deltas=0)
        return attempt

    def _decide(self, event: Any) -> None:
        """Append an outcome that says nothing to remember, and fold it."""
        offset, before = self._append(NAMES.events, _CODEC.encode(event)), self.session
        decision = Decision(
            message_id=event.message_id, outcome=type(event).__name__, attempt=event.attempt,
            deltas=getattr(event, "deltas", 0),
        )  # fmt: skip
        self.session = structs.replace(
            before, folded=offset, epoch=event.attempt.epoch, done_upto=event.decided_upto,
            recent=(*before.recent, decision),
        )  # fmt: skip
        self.write(self.session)

    def remember(self, event: TurnCompleted, offset: int) -> None:
        """Fold an outcome into the session, and write the changelog."""
        before, turn_id = self.session, event.turn_id
        said = [("user", event.message_id), ("assistant", event.text)]
        entries = tuple(
            MemoryEntry(seq=before.next_seq + place, role=role, text=text, turn_id=turn_id, occurred_at=1)
            for place, (role, text) in enumerate(said)
        )
        decision = Decision(message_id=event.message_id, outcome="TurnCompleted", attempt=event.attempt, deltas=1)
        self.session = structs.replace(
            before, folded=offset, epoch=event.attempt.epoch, memory=(*before.memory, *entries),
            next_seq=before.next_seq + 2, turns=before.turns + 1, done_upto=event.decided_upto,
            recent=(*before.recent, decision),
        )  # fmt: skip
        self.write(self.session)

    def write(self, session: Session) -> None:
        """Write a value to the changelog."""
        self._append(NAMES.changelog, ValueCodec(_CODEC).encode(session))

    def token(
        self, message_id: str, attempt: Attempt, index: int, kind: TokenKind, text: str | None = None, **fields: Any
    ) -> None:
        """Tell the readers."""
        token = Token(
            session_id=SESSION, turn_id=turn_of(message_id), message_id=message_id, attempt=attempt,
            epoch=attempt.epoch, index=index, kind=kind, text=text, occurred_at=1, **fields,
        )  # fmt: skip
        self._append(NAMES.tokens, _CODEC.encode(token))

    def reject(self, message_id: str, source: int, reason: str, *, age_s: float) -> None:
        """Give a message no turn; the table follows."""
        attempt = Attempt(self.epoch, 0)
        published_ms = self.records[NAMES.messages][source].timestamp_ms
        envelope = {
            **_envelope(message_id, source, attempt, "outcome"),
            "occurred_at": published_ms + int(1000 * age_s),
        }
        self._decide(MessageRejected(**envelope, decided_upto=source, reason=reason))
        self.token(message_id, attempt, 0, TokenKind.FAILED, cause=reason, deltas=0)

    def dead_letter(self, offset: int, *, is_told: bool = True) -> None:
        """Put a message aside, and tell its readers."""
        letter = DeadLetter(
            topic=NAMES.messages, partition=0, offset=offset, cause="undecodable", detail="", occurred_at=1
        )
        self._append(NAMES.dead_letters, _CODEC.encode(letter))
        if is_told:
            name = message_id_at(NAMES.messages, 0, offset)
            self.token(name, PUT_ASIDE, 0, TokenKind.FAILED, cause="undecodable", deltas=0)

    def commit(self, topic: str, offset: int, *, at: float = 1.0) -> None:
        """Sample a commit, and the topics' ends by now."""
        ends = {(name, 0): len(records) for name, records in self.records.items()}
        self.samples.append(Sample(at, {(topic, 0): offset}, ends))

    def store(self, session: Session | None = None, worker: str = "w1") -> None:
        """Leave a database on disk."""
        from pathlib import Path

        value = ValueCodec(_CODEC).encode(session or self.session)
        self.databases.append(Database(worker, 0, Path("sessions-0.db"), {_KEY: value}))

    def _append(self, topic: str, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> int:
        records = self.records[topic]
        records.append(Read(0, len(records), _KEY, value, headers or [], 1000 * len(records)))
        return len(records) - 1


def _envelope(message_id: str, source: int, attempt: Attempt, step: str) -> dict[str, Any]:
    turn_id = turn_of(message_id)
    return {
        "event_id": event_id_for(turn_id, attempt, step), "session_id": SESSION, "turn_id": turn_id,
        "message_id": message_id, "attempt": attempt, "source_offset": source, "occurred_at": 1,
    }  # fmt: skip
