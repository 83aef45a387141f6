"""CloudEvents and trace headers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.commands import UserMessage
from schemas.controls import CancelTurn
from schemas.dead_letters import DeadLetter
from schemas.events import PartitionOpened, TurnStarted
from schemas.headers import headers_for, traceparent_of, valid_traceparent
from schemas.session import Session
from schemas.tokens import Token
from tests.unit.schemas.samples import full, least, records

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_headers_for_event_are_a_cloud_event() -> None:
    """Every attribute of an event's record."""
    event = structs.replace(least(TurnStarted), event_id="e1", session_id="ключ")
    assert dict(headers_for(event, source="/barnabas/worker-1", traceparent=TRACE)) == {
        "ce_specversion": b"1.0",
        "ce_type": b"barnabas.TurnStarted",
        "ce_source": b"/barnabas/worker-1",
        "content-type": b"application/avro",
        "ce_id": b"e1",
        "ce_subject": "ключ".encode(),
        "traceparent": TRACE.encode(),
    }


def test_headers_for_each_family_name_its_own_id() -> None:
    """What names one occurrence of each."""
    token = structs.replace(full(Token), turn_id="t1", epoch=527)
    letter = DeadLetter(topic="a.b", partition=3, offset=9, cause="", detail="", occurred_at=0)
    cases: list[tuple[Any, bytes | None]] = [
        (token, f"t1:527.{token.attempt.number}:{token.index}".encode()),
        (structs.replace(token, epoch=600), f"t1:527.{token.attempt.number}:{token.index}:600".encode()),
        (letter, b"a.b-3-9"),
        (UserMessage(text="x", message_id="m1"), b"m1"),
        (CancelTurn(message_id="m1"), b"cancel:m1"),
        (PartitionOpened(event_id="e9", owner="o", generation=1, occurred_at=0), b"e9"),
    ]
    for record, identity in cases:
        assert dict(headers_for(record, source="/x")).get("ce_id") == identity


@pytest.mark.parametrize("record", [UserMessage(text="x"), CancelTurn(), Session(session_id="s")])
def test_headers_for_record_without_id_have_no_cloud_event(record: Any) -> None:
    """A CloudEvent needs an id; half of one would be refused by its readers."""
    assert headers_for(record, source="/x") == [("content-type", b"application/avro")]
    assert dict(headers_for(record, source="/x", traceparent=TRACE))["traceparent"] == TRACE.encode()


@given(records(), st.text(max_size=20), st.none() | st.text(max_size=20))
def test_headers_for_any_record_are_names_and_bytes(record: Any, source: str, traceparent: str | None) -> None:
    """Whatever is in the record, each name stands once and each value is bytes."""
    headers = headers_for(record, source=source, traceparent=traceparent)
    assert len(dict(headers)) == len(headers)
    assert all(isinstance(value, bytes) for _, value in headers)


def test_traceparent_of_sound_header_is_given() -> None:
    """From pairs and from a mapping; a later version may add fields."""
    later = "01" + TRACE[2:] + "-more"
    assert traceparent_of([("a", b"b"), ("traceparent", TRACE.encode())]) == TRACE
    assert traceparent_of({"traceparent": TRACE.encode()}) == TRACE
    assert traceparent_of([("traceparent", later.encode())]) == later


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        TRACE.upper().encode(),
        TRACE.encode() + b"-more",
        TRACE.encode() + b"\n",
        b"ff" + TRACE[2:].encode(),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        b"01" + TRACE[2:].encode() + b"-" + b"x" * 1000,
        TRACE,
    ],
    ids=repr,
)
def test_traceparent_of_garbage_is_none(value: Any) -> None:
    """A header that is no trace context is as good as none."""
    assert traceparent_of([("traceparent", value)]) is None


def test_traceparent_of_no_headers_is_none() -> None:
    """A record without headers, or with others."""
    assert traceparent_of(None) is None
    assert traceparent_of([]) is None
    assert traceparent_of([("other", b"x")]) is None
    assert valid_traceparent(None) is None
