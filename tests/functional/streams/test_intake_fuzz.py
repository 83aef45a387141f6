"""Any key, value and headers through the way in: one thing becomes of each record, nothing is raised or kept."""

import logging
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dead_letters import DeadLetter
from schemas.errors import InvalidMessageError
from schemas.serdes import Codec
from streams.dead_letters import DeadLetters
from streams.delivery import Delivery, UnreadableRecord
from streams.intake import Intake
from streams.monitoring.figures import Figures
from streams.options import Limits
from streams.producer import Record
from tests.unit.schemas.samples import records
from topics.names import TopicNames

NAMES, CODEC, PARTITIONS = TopicNames("p"), Codec(), 4


class _Agents:
    default = "assistant"

    @staticmethod
    def resolve(name: str | None) -> str:
        """One agent is known."""
        if name not in {None, "assistant"}:
            raise InvalidMessageError("unknown_agent", "nobody of that name")
        return "assistant"


class _World:
    """What an intake reaches, and what became of the records it was given."""

    def __init__(self) -> None:
        self.became: list[str] = []
        self.letters: list[DeadLetter] = []
        self.acknowledged = 0
        self.lost: list[str] = []
        tracker = SimpleNamespace(acks=SimpleNamespace(ack=self._acknowledge))
        consumer = SimpleNamespace(admit=lambda delivery: iter(delivery.records), cursors={})
        env: Any = SimpleNamespace(
            names=NAMES, codec=CODEC, partitions=PARTITIONS, agents=_Agents(), limits=Limits(max_text_chars=100),
            publisher=SimpleNamespace(dead_letter=self._dead_letter, forward=self._forward), fail=self.lost.append,
            figures=Figures(),
        )  # fmt: skip
        owner = SimpleNamespace(
            number=1, is_owned=True, epoch=5, when_open=lambda begin: begin(), offer=self._offer,
            control=self._control, send_terminal=lambda _key, token, receipt: (CODEC.encode(token), receipt()),
        )  # fmt: skip
        for topic in (NAMES.messages, NAMES.control):
            consumer.cursors[TP(topic, 1)] = tracker
        ownership: Any = SimpleNamespace(
            draining=False, partitions={1: owner}, consumer=consumer, lost=lambda _number, why: self.lost.append(why)
        )
        self.intake = Intake(env, ownership, DeadLetters(env))

    def _acknowledge(self, _offset: int) -> None:
        self.acknowledged += 1

    def _dead_letter(self, _partition: int, letter: DeadLetter, delivered: Callable[[Any, int], None]) -> None:
        CODEC.encode(letter)
        self.became.append("dead letter")
        self.letters.append(letter)
        delivered(None, 0)

    def _forward(self, record: Record) -> None:
        self.became.append("sent on")
        assert record.on_delivery is not None
        record.on_delivery(None, 0)

    def _offer(self, incoming: Any) -> None:
        self.became.append("a turn")
        incoming.acknowledge()

    def _control(self, _key: bytes, _control: Any, acknowledge: Callable[[], None]) -> None:
        self.became.append("an order")
        acknowledge()


_KEYS = st.one_of(st.none(), st.binary(max_size=20), st.just(b"k" * 600), st.text(max_size=10).map(str.encode))
_NAMES = st.one_of(st.sampled_from(["traceparent", "barnabas-first-seen", "barnabas-retry-of"]), st.text(max_size=5))
_HEADERS = st.lists(st.tuples(_NAMES, st.one_of(st.none(), st.binary(max_size=300))), max_size=4).map(tuple)
_JSON = st.dictionaries(
    st.sampled_from(["type", "text", "message_id", "agent", "deadline_ms", "turn_id", "metadata"]),
    st.one_of(st.none(), st.integers(), st.text(max_size=300), st.sampled_from(["cancel", "erase", "message"])),
).map(msgspec.json.encode)
_VALUES = st.one_of(st.none(), st.binary(max_size=60), _JSON, records().map(CODEC.encode))


@st.composite
def _any_record(draw: st.DrawFn) -> Any:
    topic = draw(st.sampled_from([NAMES.messages, NAMES.control]))
    key, value, headers = draw(_KEYS), draw(_VALUES), draw(_HEADERS)
    if draw(st.integers(0, 9)) == 0:
        return UnreadableRecord(
            topic=topic, partition=1, offset=3, cause="undecodable_headers", detail="d", key=key, value=value,
            headers=(*headers, ("\udcff", None)),
        )  # fmt: skip
    return ConsumerRecord(topic, 1, 3, 0, 0, key, value, None, 0, 0, headers)


@given(_any_record())
@settings(max_examples=500)
def test_intake_any_record_becomes_one_thing(record: Any) -> None:
    """A turn, an order, a dead letter with its cause and its original bytes, or it is sent on; acknowledged once."""
    world = _World()
    take = world.intake.messages if record.topic == NAMES.messages else world.intake.control
    take(Delivery(TP(record.topic, 1), 3, [record]))
    assert len(world.became) == 1
    assert world.acknowledged == 1
    assert not world.lost
    for letter in world.letters:
        assert (letter.key, letter.value, letter.offset) == (record.key, record.value, 3)
        assert letter.cause
        assert letter.cause != "internal", letter.detail
        assert len(letter.detail) <= 300
        assert len(letter.headers) == len(record.headers)


def test_intake_many_bad_records_keep_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Memory is what it was before, whatever passed through."""
    caplog.set_level(logging.CRITICAL, logger="streams")  # pytest would keep each line
    world = _World()
    bad = [
        ConsumerRecord(NAMES.messages, 1, n, 0, 0, b"", b"\xff" * 1000, None, 0, 0, (("x", b"y" * 100),))
        for n in range(50)
    ]

    def pour(times: int) -> int:
        for _ in range(times):
            world.intake.messages(Delivery(TP(NAMES.messages, 1), 0, bad))
            world.became.clear()
            world.letters.clear()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = pour(5)
    grown = pour(60) - before
    tracemalloc.stop()
    assert grown < 100_000
