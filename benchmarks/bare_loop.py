"""The yardstick: a bare librdkafka loop that answers each message with the same records as a worker's echo turn.

No Faust, no lanes, no table, no fences, nothing waited for: what Kafka and Python alone allow.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from confluent_kafka import Consumer, Message, Producer

from schemas.attempt import Attempt
from schemas.events import TurnCompleted, TurnStarted
from schemas.headers import headers_for
from schemas.ids import event_id_for, message_id_at, turn_id_for
from schemas.serdes import Codec
from schemas.session import Decision, MemoryEntry, Session
from schemas.tokens import Token, TokenKind
from streams.token_stream import now_ms
from topics.names import TopicNames

_ATTEMPT: Final = Attempt(1, 0)


class BareLoop:
    """Consumes, and produces what an echo turn of two deltas writes."""

    def __init__(self, bootstrap_servers: str, prefix: str, tokens: int) -> None:
        self._names, self._codec, self._tokens = TopicNames(prefix), Codec(), tokens
        client = {"bootstrap.servers": bootstrap_servers}
        self._consumer = Consumer(
            {**client, "group.id": "bare", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20}
        )
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0.5,
                "queue.buffering.max.messages": 500_000,
            }
        )

    def run(self) -> None:
        """Answer until terminated; says ``ready`` when partitions are assigned."""
        self._consumer.subscribe([self._names.messages], on_assign=lambda *_: print("ready", flush=True))
        while True:
            first = self._consumer.poll(0.05)  # consume() alone would wait for its 500 messages
            for message in [first, *self._consumer.consume(500, 0)] if first is not None else []:
                if message.error() is None:
                    self._answer(message)
            self._producer.poll(0)

    def _answer(self, message: Message) -> None:
        names, key, partition, offset = self._names, message.key(), message.partition(), message.offset()
        command = self._codec.decode_command(message.value(), topic=names.messages, partition=partition, offset=offset)
        session_id, text = key.decode(), getattr(command, "text", "")
        message_id = message_id_at(names.messages, partition, offset)
        turn_id = turn_id_for(session_id, message_id)
        said = text.split()
        words = [f" {said[index % len(said)]}" for index in range(self._tokens)]
        answer = "".join(words)
        turn: dict[str, Any] = {
            "session_id": session_id,
            "turn_id": turn_id,
            "message_id": message_id,
            "attempt": _ATTEMPT,
            "occurred_at": now_ms(),
        }
        start, end = event_id_for(turn_id, _ATTEMPT, "start"), event_id_for(turn_id, _ATTEMPT, "outcome")
        event, token = {**turn, "source_offset": offset}, {**turn, "epoch": _ATTEMPT.epoch}
        self._write(names.events, message, TurnStarted(event_id=start, text=text, agent="a", model="echo", **event))
        self._write(names.tokens, message, Token(index=0, kind=TokenKind.STARTED, **token))
        self._write(names.tokens, message, Token(index=1, kind=TokenKind.DELTA, text=words[0], **token))
        self._write(names.tokens, message, Token(index=2, kind=TokenKind.DELTA, text="".join(words[1:]), **token))
        outcome = TurnCompleted(event_id=end, decided_upto=offset, text=answer, deltas=2, **event)
        self._write(names.events, message, outcome)
        self._write(names.tokens, message, Token(index=3, kind=TokenKind.COMPLETED, text=answer, deltas=2, **token))
        memory = tuple(
            MemoryEntry(seq=seq, role=role, text=what, turn_id=turn_id, occurred_at=now_ms())
            for seq, (role, what) in enumerate((("user", text), ("assistant", answer)))
        )
        decided = Decision(message_id=message_id, outcome="TurnCompleted", attempt=_ATTEMPT, deltas=2)
        session = Session(session_id=session_id, agent="a", memory=memory, next_seq=2, turns=1, recent=(decided,))
        value = self._codec.encode_session(session)
        self._produce(names.changelog, message, value, [])

    def _write(self, topic: str, message: Message, record: TurnStarted | TurnCompleted | Token) -> None:
        self._produce(topic, message, self._codec.encode(record), headers_for(record, source="/bare/loop"))

    def _produce(self, topic: str, message: Message, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self._producer.produce(topic, value, message.key(), message.partition(), headers=headers)
            except BufferError:
                self._producer.poll(0.01)
            else:
                return


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--tokens", type=int, default=20)
    args = parser.parse_args()
    BareLoop(args.bootstrap_servers, args.prefix, args.tokens).run()


if __name__ == "__main__":
    main()
