"""The yardstick: a bare librdkafka loop that answers each message with the same records as a worker's echo turn.

No Faust, no lanes, no table, no fences, nothing waited for: what Kafka and Python alone allow.
"""

from __future__ import annotations

import argparse
import sys

from confluent_kafka import Consumer, Producer

from schemas.attempt import Attempt
from schemas.events import TurnCompleted, TurnStarted
from schemas.headers import headers_for
from schemas.ids import event_id_for, message_id_at, turn_id_for
from schemas.serdes import Codec
from schemas.session import MemoryEntry, Session
from schemas.tokens import Token, TokenKind
from streams.token_stream import now_ms
from topics.names import TopicNames


def main() -> None:
    """Answer until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--tokens", type=int, default=20)
    args = parser.parse_args()
    names, codec, source = TopicNames(args.prefix), Codec(), "/bare/loop"
    client = {"bootstrap.servers": args.bootstrap_servers}
    consumer = Consumer(
        {**client, "group.id": "bare", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20, "enable.auto.commit": True}
    )
    producer = Producer(
        {**client, "enable.idempotence": True, "acks": "all", "linger.ms": 0.5, "queue.buffering.max.messages": 500_000}
    )
    ready = False

    def assigned(_consumer: Consumer, _partitions: object) -> None:
        nonlocal ready
        if not ready:
            ready = True
            sys.stdout.write("ready\n")
            sys.stdout.flush()

    consumer.subscribe([names.messages], on_assign=assigned)
    attempt = Attempt(1, 0)
    while True:
        first = consumer.poll(0.05)  # consume() alone would wait for its 500 messages
        for message in [first, *consumer.consume(500, 0)] if first is not None else []:
            if message.error() is not None:
                continue
            key, partition, offset = message.key(), message.partition(), message.offset()
            command = codec.decode_command(message.value(), topic=names.messages, partition=partition, offset=offset)
            session_id = key.decode()
            message_id = command.message_id or message_id_at(names.messages, partition, offset)
            turn_id = turn_id_for(session_id, message_id)
            words = command.text.split()
            words = [f" {words[i % len(words)]}" for i in range(args.tokens)]
            text = "".join(words)
            envelope = {
                "session_id": session_id, "turn_id": turn_id, "message_id": message_id, "attempt": attempt,
                "source_offset": offset,
            }  # fmt: skip
            stream = {
                "session_id": session_id, "turn_id": turn_id, "message_id": message_id, "attempt": attempt, "epoch": 1,
            }  # fmt: skip
            records = [
                (names.events, TurnStarted(event_id=event_id_for(turn_id, attempt, "start"), occurred_at=now_ms(), **envelope, text=command.text, agent="assistant", model="echo")),
                (names.tokens, Token(index=0, kind=TokenKind.STARTED, occurred_at=now_ms(), **stream)),
                (names.tokens, Token(index=1, kind=TokenKind.DELTA, text=words[0], occurred_at=now_ms(), **stream)),
                (names.tokens, Token(index=2, kind=TokenKind.DELTA, text="".join(words[1:]), occurred_at=now_ms(), **stream)),
                (names.events, TurnCompleted(event_id=event_id_for(turn_id, attempt, "outcome"), occurred_at=now_ms(), **envelope, decided_upto=offset, text=text, deltas=2)),
                (names.tokens, Token(index=3, kind=TokenKind.COMPLETED, text=text, deltas=2, occurred_at=now_ms(), **stream)),
            ]  # fmt: skip
            for topic, record in records:
                _produce(producer, topic, partition, key, codec.encode(record), headers_for(record, source=source))
            entry = {"turn_id": turn_id, "occurred_at": now_ms()}
            session = Session(
                session_id=session_id,
                memory=(
                    MemoryEntry(seq=0, role="user", text=command.text, **entry),
                    MemoryEntry(seq=1, role="assistant", text=text, **entry),
                ),
            )
            _produce(producer, names.changelog, partition, key, codec.encode_session(session), [])
        producer.poll(0)


def _produce(
    producer: Producer, topic: str, partition: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.01)
        else:
            return


if __name__ == "__main__":
    main()
