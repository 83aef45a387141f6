"""Writing to sessions over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from barnabas.cursor import Cursor
from schemas.ids import turn_id_for
from tests.support.deployment import Deployment
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """Give a client of the gateway."""
    with httpx.Client(base_url=gateway.url, timeout=ANSWER_S) as made:
        yield made


def outcome_of(served: Deployment, turn_id: str) -> str:
    """Wait for a turn's outcome, and name it."""
    served.wait(lambda: turn_id in served.log().outcomes, f"{turn_id} has its outcome")
    return type(served.log().outcomes[turn_id].event).__name__


def test_message_is_accepted_with_its_ids_and_answered(http: httpx.Client, served: Deployment, session: str) -> None:
    """202 once the broker has it; a cursor from which nothing of the answer is missed."""
    accepted = http.post(f"/sessions/{session}/messages", json={"text": "fast", "metadata": {"a": "b"}})
    body = accepted.json()
    assert (accepted.status_code, body["session_id"]) == (202, session)
    assert body["turn_id"] == turn_id_for(session, body["message_id"])
    assert accepted.headers["location"] == f"/sessions/{session}/stream?after={body['cursor']}"
    assert Cursor.parse(body["cursor"]).epoch == -1
    assert outcome_of(served, body["turn_id"]) == "TurnCompleted"
    first = min(t.index for t in served.tokens() if t.turn_id == body["turn_id"])
    assert first == 0


def test_same_idempotency_key_is_one_message(http: httpx.Client, served: Deployment, session: str) -> None:
    """Quoted, as the draft standard has it, or not."""
    answers = [
        http.post(f"/sessions/{session}/messages", json={"text": "fast"}, headers={"Idempotency-Key": key}).json()
        for key in ("order-1", '"order-1"', "order-2")
    ]
    assert [answer["message_id"] for answer in answers] == ["order-1", "order-1", "order-2"]
    assert outcome_of(served, answers[2]["turn_id"]) == "TurnCompleted"
    assert len([call for call in served.calls() if call.session_id == session]) == 2


def test_cancel_by_message_before_and_while_it_runs(http: httpx.Client, served: Deployment, session: str) -> None:
    """Either way the outcome is that it was cancelled."""
    running = http.post(f"/sessions/{session}/messages", json={"text": "hang on"}).json()
    waiting = http.post(f"/sessions/{session}/messages", json={"text": "fast"}).json()
    for message in (waiting, running):
        order = {"message_id": message["message_id"], "reason": "enough"}
        cancelled = http.post(f"/sessions/{session}/cancel", json=order)
        assert (cancelled.status_code, cancelled.json()) == (
            202,
            {"session_id": session, "message_id": message["message_id"]},
        )
    assert {outcome_of(served, message["turn_id"]) for message in (waiting, running)} == {"TurnCancelled"}


def test_erase_is_in_order(http: httpx.Client, served: Deployment, session: str) -> None:
    """What stands before it is answered; what stands behind it begins anew."""
    http.post(f"/sessions/{session}/messages", json={"text": "fast"})
    erased = http.delete(f"/sessions/{session}", params={"reason": "asked for"})
    assert erased.status_code == 202
    behind = http.post(f"/sessions/{session}/messages", json={"text": "count them"}).json()
    assert outcome_of(served, behind["turn_id"]) == "TurnCompleted"
    assert outcome_of(served, erased.json()["turn_id"]) == "SessionErased"
    assert served.log().outcomes[behind["turn_id"]].event.text == "1"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("messages", {}, ("invalid_body", "text")),
        ("messages", {"text": " "}, ("invalid_body", "text")),
        ("messages", {"text": "x", "txet": "y"}, ("invalid_body", "txet")),
        ("messages", {"text": "x", "agent": "nobody"}, ("unknown_agent", "agent")),
        ("messages", {"text": "x", "deadline_ms": 0}, ("invalid_body", "deadline_ms")),
        ("messages", {"text": "x" * 100_001}, ("oversized_text", "text")),
        ("cancel", {}, ("invalid_body", None)),
    ],
)
def test_wrong_body_is_refused_by_field(
    http: httpx.Client, session: str, path: str, body: dict[str, object], expected: tuple[str, str | None]
) -> None:
    """It does not become a dead letter."""
    answer = http.post(f"/sessions/{session}/{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (answer.json()["code"], answer.json().get("field")) == expected


@pytest.mark.parametrize("session_id", ["a%0Ab", "x" * 129, "a%2Fb"])
def test_impossible_session_id_is_refused(http: httpx.Client, session_id: str) -> None:
    """A header or a log line could not hold it."""
    answer = http.post(f"/sessions/{session_id}/messages", json={"text": "fast"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_session_id")
