"""Ids are the same everywhere and for ever, and differ where they should."""

import re

from hypothesis import given
from hypothesis import strategies as st

from schemas.attempt import Attempt
from schemas.ids import event_id_for, message_id_at, turn_id_for


def test_ids_known_inputs_are_what_they_always_were() -> None:
    """Changing a derivation would answer every redelivered message again."""
    assert message_id_at("barnabas.messages", 3, 17) == "barnabas.messages-3-17"
    assert turn_id_for("s", "m") == "t245d88870128a071567d"
    assert event_id_for("t245d88870128a071567d", Attempt(5, 1), "started") == "eebd9581cf3b926f9501e1c96"


@given(st.text(), st.text(), st.text(), st.text())
def test_turn_id_any_two_messages_differ(session: str, message: str, session_2: str, message_2: str) -> None:
    """Session and message cannot run into each other."""
    one, two = turn_id_for(session, message), turn_id_for(session_2, message_2)
    assert (one == two) == ((session, message) == (session_2, message_2))
    assert re.fullmatch(r"t[0-9a-f]{20}", one)
    assert turn_id_for(session + message, "") != turn_id_for(session, message) or not message


def test_event_id_every_part_counts() -> None:
    """Turn, epoch, try and step each make another event."""
    ids = {
        event_id_for(turn, Attempt(epoch, number), step)
        for turn in ("t1", "t2")
        for epoch in (1, 11)
        for number in (0, 1)
        for step in ("started", 0, 1, 10)
    }
    assert len(ids) == 32
    assert all(re.fullmatch(r"e[0-9a-f]{24}", each) for each in ids)


def test_ids_lone_surrogates_are_taken() -> None:
    """A client's broken key must not stop its partition."""
    assert turn_id_for("\ud800", "m") != turn_id_for("\ud801", "m")
