"""Writes records as they are, confirmed by the broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerError
from topics.access import refusal

_TIMEOUT_S = 30.0

#: How a client writes. Idempotence would cost 500 ms at each start for its producer id (librdkafka 2.16: 510 ms to the
#: first confirmation, 8 ms without). One request at a time keeps the order, and message_id catches a repeat.
IN_ORDER: Final[Mapping[str, bool | int]] = MappingProxyType({"enable.idempotence": False, "max.in.flight": 1})


class Published(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Outgoing(NamedTuple):
    """A record as it is to be written."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class MessagePublisher:
    """Writes records, each confirmed.

    Args:
        bootstrap_servers: ``host:port[,host:port]``.
        client_config: Further librdkafka settings.
    """

    def __init__(self, bootstrap_servers: str, *, client_config: Mapping[str, Any] | None = None) -> None:
        self._servers = bootstrap_servers
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                **IN_ORDER,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": int(_TIMEOUT_S * 1000),
                "log_level": 0,
                **(client_config or {}),
            }
        )

    def write(self, records: Sequence[Outgoing]) -> list[Published]:
        """Write records as they are, in order, and wait until the broker has all of them; some hundred at a time.

        Raises:
            AccessError: Kafka does not let this user write to a topic.
            BrokerError: One was not confirmed; each of them may be in its topic all the same.
        """
        written: list[Published | None] = [None] * len(records)
        failures: list[KafkaError] = []
        done = 0

        def report_to(number: int) -> Callable[[KafkaError | None, Message], None]:
            def report(error: KafkaError | None, message: Message) -> None:
                nonlocal done
                done += 1
                offset = message.offset()
                if error is None and offset is not None:
                    record = records[number]
                    written[number] = Published(record.topic, record.partition, offset)
                else:  # without an offset it may be in no log (docs/chaos.md)
                    failures.append(error or KafkaError(KafkaError._FAIL, "no offset"))  # noqa: SLF001 -- so named

            return report

        for number, record in enumerate(records):
            self._produce(record, report_to(number))
        while done < len(records):
            self._producer.poll(0.1)
        if failures:
            if (refused := refusal(failures[0], self._servers)) is not None:
                raise refused
            raise BrokerError(
                f"Kafka at {self._servers} did not confirm a record ({failures[0].str()}); "
                "do the same again: a message is answered once"
            )
        return [place for place in written if place is not None]

    def _produce(self, record: Outgoing, report: Callable[[KafkaError | None, Message], None]) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, record.partition, report, headers=record.headers
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BrokerError(f"{record.topic}: the message was refused: {error.args[0].str()}") from error
            else:
                return
