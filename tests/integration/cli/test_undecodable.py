"""``events`` and ``tail`` over records that are none of ours: one line each, and on with the next."""

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.attempt import Attempt
from schemas.events import TurnStarted
from schemas.serdes import Codec
from schemas.tokens import Token, TokenKind
from tests.support.processes import run_barnabas
from topics.names import TopicNames

GARBAGE = b"\xff\x00garbage"
NEWER = b"\xc3\x01" + b"12345678" + b"rest"  #: Avro of a schema that this version does not know.

EVENT = TurnStarted(
    event_id="e1", source_offset=0, session_id="s", turn_id="t1", message_id="m1", attempt=Attempt(0, 1), occurred_at=1,
    agent="assistant", model="echo", text="hello",
)  # fmt: skip
TOKEN = Token(
    session_id="s", turn_id="t1", message_id="m1", attempt=Attempt(0, 1), epoch=0, index=0, kind=TokenKind.STARTED,
    occurred_at=1,
)  # fmt: skip


@pytest.mark.parametrize("command", ["events", "tail --from-beginning --no-follow"])
def test_undecodable_record_is_a_line_and_the_next_is_shown(
    kafka: str, topic_names: TopicNames, tmp_path: Path, command: str
) -> None:
    """Garbage, nothing at all, and what a newer version wrote; the good record lies behind them."""
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "BARNABAS_PREFIX": topic_names.prefix,
        "BARNABAS_DATA_DIR": str(tmp_path),
        "BARNABAS_PARTITIONS": "1",
    }
    assert run_barnabas("topics", env=env, cwd=tmp_path).returncode == 0
    topic, good = (topic_names.events, EVENT) if command == "events" else (topic_names.tokens, TOKEN)
    producer = Producer({"bootstrap.servers": kafka})
    for value in (GARBAGE, None, NEWER, Codec().encode(good)):
        producer.produce(topic, value, b"s", 0)
    assert producer.flush(20) == 0

    shown = run_barnabas(*command.split(), "--json", env=env, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    *bad, last = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(line["topic"], line["partition"], line["offset"]) for line in bad] == [(topic, 0, n) for n in range(3)]
    assert all(line["error"] for line in bad)
    assert (last["offset"], last["message_id"]) == (3, "m1")

    shown = run_barnabas(*command.split(), "--session", "s", env=env, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["0@0", "0@1", "0@2", "0@3"]
    assert [line.split()[2] for line in lines[:3]] == ["undecodable"] * 3
    assert "turn=t1" in lines[3]
