"""The load of a run: open-loop, by seed, from several clients; what the broker confirmed is written down."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import Producer

from schemas.ids import message_id_at
from tests.chaos.patience import Patience
from tests.chaos.raw_client import RawClient
from topics.names import TopicNames
from topics.partitioner import partition_for

#: Says in each record what it is, so that the topic alone tells what has to become of it.
MARK: Final = "chaos"

#: A client waits for its confirmation longer than any outage; what it gives up is not counted.
_DELIVERY_TIMEOUT_MS: Final = 300_000

#: How often a publisher is asked whether all is confirmed, and how long a thread of the suite may take to end.
_POLL_S: Final = 1.0
_JOIN_S: Final = 60.0


class Action(StrEnum):
    """What a client does."""

    PLAIN = "plain"  #: A message with an id.
    NAMELESS = "nameless"  #: A message without one.
    DUPLICATE = "duplicate"  #: A message, and the same again a little later, from the same client.
    ECHOED = "echoed"  #: A message from two clients at once.
    REORDERED = "reordered"  #: Two messages; another client sends them in the other order.
    MISPLACED = "misplaced"  #: A message by librdkafka's own partitioner (CRC32).
    CANCELLED = "cancelled"  #: A message and a cancel, in any order.
    ERASE = "erase"  #: An order to erase the session.
    FLOOD = "flood"  #: More orders to one session than it remembers ids: offsets alone tell what is decided.
    POISON = "poison"  #: What is no message.
    UNREADABLE = "unreadable"  #: Poison whose header name is not UTF-8.


_MIX: Final[dict[Action, int]] = {
    Action.PLAIN: 50,
    Action.NAMELESS: 12,
    Action.DUPLICATE: 8,
    Action.ECHOED: 5,
    Action.REORDERED: 5,
    Action.MISPLACED: 10,
    Action.CANCELLED: 6,
    Action.ERASE: 1,
    Action.FLOOD: 1,
    Action.POISON: 3,
    Action.UNREADABLE: 1,
}

#: Orders of a flood; a session remembers 32 ids. They cost no model call, so that all of them may be decided when
#: a message before them still holds the commit: whoever takes over next gets them again.
_FLOOD: Final = 40

#: What empties a session.
ERASES: Final = frozenset({Action.ERASE, Action.FLOOD})

#: What has its dead letter for an outcome.
POISONS: Final = frozenset({Action.POISON, Action.UNREADABLE})

#: A header's name that is not UTF-8: no client library reads such a record's headers, not even the mark.
_BAD_NAME: Final = b"\xff\xfe"

#: Value and key; a key of True stands for a session's.
_POISON: Final[tuple[tuple[bytes | None, bytes | bool | None], ...]] = (
    (b"{not json", True),
    (b"\xff\xfe\x00 garbage", True),
    (b'{"text": "  "}', True),
    (b'{"text": 5}', True),
    (b"[" * 4000, True),
    (b'{"text": "x", "agent": "nobody"}', True),
    (b'{"text": "x", "deadline_ms": -1}', True),
    (b'{"text": "x", "message_id": "' + b"i" * 300 + b'"}', True),
    (b'{"text": "x", "type": "unheard of"}', True),
    (None, True),
    (b'{"text": "no key"}', None),
    (b'{"text": "bad key"}', b"\xff\xfe"),
    (b'{"text": "bad key"}', b"\x00partition"),
)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A record that the broker has confirmed to its publisher.

    Attributes:
        mark: What it is.
        client: Who published it.
        number: Its place in that client's sequence.
        session_id: The key as text.
        message_id: The id it has; for a nameless one the place where it lies.
        partition: Where it lies.
        offset: Its offset there.
    """

    mark: str
    client: str
    number: int
    session_id: str
    message_id: str
    partition: int
    offset: int


class Client:
    """A publisher of its own: what it sends in order arrives in order."""

    def __init__(self, name: str, bootstrap_servers: str, topic: str, confirmed: list[Confirmed]) -> None:
        self.name, self._topic, self._confirmed = name, topic, confirmed
        self._number = 0
        self.refused = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "delivery.timeout.ms": _DELIVERY_TIMEOUT_MS,
                "reconnect.backoff.max.ms": 200,
                "log_level": 0,
            }
        )

    def send(
        self, value: bytes | None, key: bytes | None, partition: int, *, mark: str, message_id: str | None = None,
        topic: str | None = None,
    ) -> None:  # fmt: skip
        """Publish a record; -1 leaves the partition to librdkafka."""
        number, self._number = self._number, self._number + 1
        session = (key or b"").decode(errors="replace")

        def confirmed(error: Any, message: Any) -> None:
            if error is not None or message.offset() is None:  # without a place it need not be there
                self.refused += 1
            elif topic is None:
                at = message.partition(), message.offset()
                known = message_id or message_id_at(self._topic, *at)
                self._confirmed.append(Confirmed(mark, self.name, number, session, known, *at))

        self._producer.produce(
            topic or self._topic, value, key, partition, on_delivery=confirmed, headers=[(MARK, mark.encode())]
        )

    def poll(self) -> None:
        """Hear of confirmations."""
        self._producer.poll(0)

    def flush(self, patience_s: float) -> int:
        """Wait for them; returns how many are still due when nothing was confirmed for so long, in seconds."""
        due, patience = int(self._producer.flush(_POLL_S)), Patience(patience_s)
        while due and not patience.is_over(due):
            due = int(self._producer.flush(_POLL_S))
        return due


class Load:
    """Publishes at a steady rate whatever the answers do; what is published is a function of the seed."""

    def __init__(
        self, seed: int, bootstrap_servers: str, names: TopicNames, *, partitions: int, rate: float, sessions: int
    ) -> None:
        self._rng = random.Random(f"load {seed}")
        self._names, self._partitions, self._rate, self._sessions = names, partitions, rate, sessions
        self.confirmed: list[Confirmed] = []
        self.actions = 0
        self._texts = 0
        self._first, self._second, self._crc32 = (
            Client(name, bootstrap_servers, names.messages, self.confirmed) for name in ("first", "second", "crc32")
        )
        self._raw = RawClient(bootstrap_servers, names.messages)
        #: What is sent later: ``(number of the action, client, arguments)``, ascending.
        self._later: deque[tuple[int, Client, dict[str, Any]]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def refused(self) -> int:
        """Records that were never confirmed."""
        return sum(client.refused for client in self._clients)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the confirmations that are due."""
        self._stop.set()
        self._thread.join(_JOIN_S)

    def settle(self, patience_s: float) -> int:
        """Wait for the last confirmations; returns how many are due when none came for ``patience_s`` seconds."""
        return sum(client.flush(patience_s) for client in self._clients) + self._raw.flush(patience_s)

    def close_sessions(self, patience_s: float) -> int:
        """Send one more message to each partition, so that each owner writes its changelog once more; as ``settle``."""
        for partition in range(self._partitions):
            session = next(
                name for number in range(10_000)
                if partition_for((name := f"last-{number}").encode(), self._partitions) == partition
            )  # fmt: skip
            self._send(self._first, session, Action.PLAIN, f"last {partition}")
        return self.settle(patience_s)

    @property
    def _clients(self) -> tuple[Client, ...]:
        return self._first, self._second, self._crc32

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            self._act()
            self._send_due()
            for client in self._clients:
                client.poll()
            self.actions += 1
            self._stop.wait(max(0.0, began + self.actions / self._rate - time.monotonic()))
        while self._later:
            _, client, arguments = self._later.popleft()
            client.send(**arguments)

    def _send_due(self) -> None:
        while self._later and self._later[0][0] <= self.actions:
            _, client, arguments = self._later.popleft()
            client.send(**arguments)

    def _act(self) -> None:  # noqa: C901, PLR0912 -- a list
        rng = self._rng
        action = rng.choices(list(_MIX), list(_MIX.values()))[0]
        session = f"s{rng.randrange(self._sessions)}"
        name = f"m-{self.actions}"
        match action:
            case Action.PLAIN | Action.NAMELESS:
                self._send(self._first, session, action, name if action is Action.PLAIN else None)
            case Action.DUPLICATE:
                self._send(self._first, session, action, name)
                self._send(self._first, session, action, name, later=rng.randint(1, 40))
            case Action.ECHOED:
                self._send(self._first, session, action, name)
                self._send(self._second, session, action, name, later=rng.randint(0, 3))
            case Action.REORDERED:
                texts = (f"{name}-a", f"{name}-b")
                for text in texts:
                    self._send(self._first, session, action, text)
                for text in reversed(texts):
                    self._send(self._second, session, action, text, later=rng.randint(0, 3))
            case Action.MISPLACED:
                self._send(
                    self._crc32, f"c{rng.randrange(self._sessions)}", action, rng.choice([name, None]), partition=-1
                )
            case Action.CANCELLED:
                self._cancelled(session, name)
            case Action.ERASE:
                body = {"type": "erase", "message_id": name, "reason": "chaos"}
                self._publish(self._first, json.dumps(body).encode(), session.encode(), action, name)
            case Action.FLOOD:
                for _ in range(_FLOOD):
                    self._publish(self._first, b'{"type": "erase"}', f"f{session}".encode(), action, None)
            case Action.POISON:
                value, key = rng.choice(_POISON)
                self._publish(
                    self._first, value, session.encode() if key is True else key or None, action, None,
                    partition=rng.randrange(self._partitions) if key is not True else None,
                )  # fmt: skip

            case Action.UNREADABLE:
                self._unreadable(session, name)

    def _unreadable(self, session: str, name: str) -> None:
        partition, number = partition_for(session.encode(), self._partitions), self.actions

        def confirmed(offset: int) -> None:
            self.confirmed.append(Confirmed(Action.UNREADABLE, "raw", number, session, name, partition, offset))

        body = json.dumps({"text": name, "message_id": name}).encode()
        self._raw.send(partition, (session.encode(), body, [(_BAD_NAME, b"")]), confirmed)

    def _cancelled(self, session: str, name: str) -> None:
        order = json.dumps({"type": "cancel", "message_id": name}).encode()
        later = self._rng.randint(-1, 30)
        arguments = {
            "value": order, "key": session.encode(), "partition": partition_for(session.encode(), self._partitions),
            "mark": "control", "topic": self._names.control,
        }  # fmt: skip
        if later < 0:
            self._first.send(**arguments)
        self._send(self._first, session, Action.CANCELLED, name)
        if later >= 0:
            self._schedule(later, self._first, arguments)

    def _send(
        self, client: Client, session: str, action: Action, name: str | None, *, later: int = 0,
        partition: int | None = None,
    ) -> None:  # fmt: skip
        text = name or f"n-{self.actions}"
        body = {"text": text, **({"message_id": name} if name else {})}
        self._publish(
            client, json.dumps(body).encode(), session.encode(), action, name, partition=partition, later=later
        )

    def _publish(
        self, client: Client, value: bytes | None, key: bytes | None, action: Action, name: str | None, *,
        partition: int | None = None, later: int = 0,
    ) -> None:  # fmt: skip
        if partition is None:
            partition = partition_for(key or b"", self._partitions)
        arguments = {"value": value, "key": key, "partition": partition, "mark": str(action), "message_id": name}
        if later:
            self._schedule(later, client, arguments)
        else:
            client.send(**arguments)

    def _schedule(self, later: int, client: Client, arguments: dict[str, Any]) -> None:
        """Keep for later; what is due at the same time goes in the order in which it was kept."""
        due = self.actions + later
        place = next((index for index, (at, _, _) in enumerate(self._later) if at > due), len(self._later))
        self._later.insert(place, (due, client, arguments))
