"""Whether Kafka answers, asked at most once a second, whoever asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_FRESH_S: Final = 1.0
_TIMEOUT_S: Final = 2.0


class KafkaProbe:
    """Asks a broker for the metadata of one topic.

    Args:
        client_config: librdkafka settings, the address among them.
        topic: Which.
    """

    def __init__(self, client_config: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._admin = AdminClient({**client_config, "log_level": 0})
        self._problem: str | None = None
        self._asked_at: float | None = None
        self._request: asyncio.Future[str | None] | None = None

    async def problem(self) -> str | None:
        """Return what is wrong with Kafka, None where it answers."""
        if self._asked_at is None or time.monotonic() - self._asked_at >= _FRESH_S:
            if self._request is None:
                self._request = asyncio.ensure_future(asyncio.to_thread(self._ask))
                self._request.add_done_callback(self._answered)
            await asyncio.shield(self._request)
        return self._problem

    def _answered(self, request: asyncio.Future[str | None]) -> None:
        self._request = None
        if not request.cancelled():
            self._problem, self._asked_at = request.result(), time.monotonic()

    def _ask(self) -> str | None:
        try:
            found = self._admin.list_topics(self._topic, timeout=_TIMEOUT_S).topics.get(self._topic)
        except KafkaException as error:
            return f"Kafka does not answer ({error.args[0].str()})"
        if found is None or found.error is not None:
            return f"Kafka has no topic {self._topic}"
        return None
