"""What is published is a function of the seed, whatever the clock and the broker do."""

from __future__ import annotations

from typing import Any

import pytest

from state.fold import RECENT_DECISIONS
from tests.chaos.load import Action, Load
from tests.support.raw_batches import RawRecord
from topics.names import TopicNames


class Sent:
    """A client that keeps what it is given."""

    def __init__(self, name: str, sent: list[Any]) -> None:
        self._name, self._sent = name, sent

    def send(self, **record: Any) -> None:
        """Keep it."""
        self._sent.append((self._name, *sorted(record.items(), key=str)))


class SentRaw:
    """The same, of records with headers of any bytes."""

    def __init__(self, sent: list[Any]) -> None:
        self._sent = sent

    def send(self, partition: int, record: RawRecord, _on_confirmed: Any) -> None:
        """Keep it."""
        self._sent.append(("raw", ("mark", str(Action.UNREADABLE)), ("partition", partition), ("value", record)))


def published(seed: int, actions: int = 600) -> list[Any]:
    """Return what a load sends, in order."""
    load = Load(seed, "127.0.0.1:1", TopicNames("t"), partitions=4, rate=1.0, sessions=20)
    sent: list[Any] = []
    load._first, load._second, load._crc32 = (Sent(name, sent) for name in ("a", "b", "c"))  # type: ignore[assignment]
    load._raw = SentRaw(sent)  # type: ignore[assignment]
    for _ in range(actions):
        load._act()
        load._send_due()
        load.actions += 1
    return sent


def test_load_same_seed_same_records_another_seed_others() -> None:
    """Twice the same."""
    assert published(3) == published(3)
    assert published(3) != published(4)


@pytest.mark.parametrize("action", Action)
def test_load_every_action_comes(action: Action) -> None:
    """Each mark is in the records of a short run."""
    assert any(("mark", str(action)) in record for record in published(5))


def test_load_flood_is_longer_than_the_ids_that_a_session_remembers() -> None:
    """Its orders have no id of their own, so that offsets alone tell which of them are decided."""
    floods = [dict(record[1:])["key"] for record in published(5) if ("mark", str(Action.FLOOD)) in record]
    assert floods
    assert all(floods.count(key) > RECENT_DECISIONS for key in set(floods))


def test_load_duplicates_come_soon_behind_their_first() -> None:
    """Within the documented window of 32 decisions of a session: a copy is at most 41 actions behind."""
    places: dict[str, list[int]] = {}
    for place, record in enumerate(published(6)):
        fields = dict(record[1:])
        if fields["mark"] == Action.DUPLICATE:
            places.setdefault(fields["message_id"], []).append(place)
    copies = [found for found in places.values() if len(found) == 2]
    assert len(copies) > 20
    assert all(last - first < 100 for first, last in copies)
