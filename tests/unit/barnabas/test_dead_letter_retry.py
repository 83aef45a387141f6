"""What is published when a dead letter is retried."""

import json
import time
from typing import Any

import pytest

from barnabas.commands.dead_letter_options import since_ms
from barnabas.commands.dead_letter_shown import print_whole, row, summary
from barnabas.dead_letter_retry import Amendment, outgoing
from barnabas.dead_letters import PlacedLetter, Position
from schemas.commands import UserMessage
from schemas.dead_letters import DeadLetter, RecordHeader
from schemas.errors import InvalidMessageError, SettingsError
from schemas.headers import FIRST_SEEN, RETRY_OF
from schemas.serdes import Codec
from topics.names import TopicNames
from topics.partitioner import partition_for

NAMES, CODEC = TopicNames("p"), Codec()


def letter(**fields: Any) -> DeadLetter:
    """A message that named an agent nobody knows."""
    known: dict[str, Any] = {
        "topic": NAMES.messages, "partition": 2, "offset": 7, "cause": "unknown_agent", "detail": "no agent x",
        "occurred_at": 1, "key": b"s", "value": b'{"text": "hi", "agent": "x"}', "message_id": "p.messages-2-7",
    }  # fmt: skip
    return DeadLetter(**{**known, **fields})


def retried(found: DeadLetter, **amendment: Any) -> Any:
    """What its retry publishes."""
    return outgoing(found, "3:17", names=NAMES, partitions=4, codec=CODEC, amendment=Amendment(**amendment))


def test_outgoing_keeps_key_value_and_headers_and_pins_the_id() -> None:
    """Repeated and empty headers too; names that no client can write, and our own old pins, are left out."""
    headers = [
        RecordHeader(name="a", value=b"1"),
        RecordHeader(name="a", value=None),
        RecordHeader(name=FIRST_SEEN, value=b"old"),
        RecordHeader(name=RETRY_OF, value=b"0:0"),
        RecordHeader(name="\ufffd", value=b"2", raw_name=b"\xff"),
    ]
    record = retried(letter(headers=headers))
    assert (record.topic, record.partition, record.key) == (NAMES.messages, partition_for(b"s", 4), b"s")
    assert record.value == letter().value
    assert record.headers == [("a", b"1"), ("a", None), (FIRST_SEEN, b"p.messages-2-7"), (RETRY_OF, b"3:17")]


@pytest.mark.parametrize("value", [b'{"text": "hi", "agent": "x"}', CODEC.encode(UserMessage(text="hi", agent="x"))])
def test_outgoing_agent_is_replaced_and_the_id_written_in(value: bytes) -> None:
    """JSON or Avro."""
    record = json.loads(retried(letter(value=value), agent="support").value)
    assert (record["text"], record["agent"], record["message_id"]) == ("hi", "support", "p.messages-2-7")


@pytest.mark.parametrize(
    ("fields", "amendment", "why"),
    [
        ({"topic": NAMES.events}, {}, "only workers write"),
        ({"key": None}, {}, "--key"),
        ({"bytes_left_out": 5}, {}, "5 bytes"),
        ({"cause": "corrupt_batch"}, {}, "damaged batch"),
        ({"value": b"\xff"}, {"agent": "a"}, "--edit"),
        ({"value": b'{"type": "erase"}'}, {"agent": "a"}, "erase"),
        ({}, {"value": b"{"}, "--edit"),
    ],
)
def test_outgoing_what_cannot_be_published_says_why(fields: Any, amendment: Any, why: str) -> None:
    """One sentence with what to do."""
    with pytest.raises(InvalidMessageError, match=why):
        retried(letter(**fields), **amendment)


def test_outgoing_control_has_no_message_id() -> None:
    """An order about a turn is published as it is."""
    record = retried(letter(topic=NAMES.control, value=b"{}"))
    assert record.headers == [(RETRY_OF, b"3:17")]


def test_since_duration_or_time() -> None:
    """Relative to now, or absolute; nothing else."""
    assert since_ms("15m", now=1000.0) == 100_000
    assert since_ms("1970-01-01T00:01:00+00:00", now=0.0) == 60_000
    for text in ("soon", "-5m", "5", "15 m", "99999-01-01"):
        with pytest.raises(SettingsError, match="--since"):
            since_ms(text, now=0.0)


def test_position_text_and_back() -> None:
    """``partition:offset``."""
    assert Position.parse("3:17") == (3, 17)
    assert str(Position(3, 17)) == "3:17"
    for text in ("3", "3:", ":3", "a:b", "3:17:1", "-1:2", ""):
        with pytest.raises(SettingsError, match="position"):
            Position.parse(text)


@pytest.mark.parametrize("value", [None, b"", b'{"text": "hi"}', b"plain \x1b[31m text", bytes(range(256)) * 4])
def test_show_any_value_prints_nothing_that_a_terminal_obeys(
    value: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences of a stranger are shown, not obeyed."""
    headers = [RecordHeader(name="\ufffd", value=b"\x1b[2J", raw_name=b"\xff\x1b"), RecordHeader(name="n")]
    placed = PlacedLetter(
        Position(3, 17), letter(value=value, key=b"\x1b\xff", detail="\x1b[0m\n\x07", headers=headers), None
    )
    print_whole(placed, CODEC)
    shown = capsys.readouterr().out + row(summary(placed))
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_times_are_utc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere else, whatever the terminal's zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        placed = PlacedLetter(Position(3, 17), letter(occurred_at=0), None)
        print_whole(placed, CODEC)
        for shown in (capsys.readouterr().out, row(summary(placed))):
            assert "1970-01-01T00:00:00.000Z" in shown
    finally:
        monkeypatch.undo()
        time.tzset()
