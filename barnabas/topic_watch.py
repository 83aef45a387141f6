"""Whether a topic is still the one that was there: librdkafka waits for records of a deleted one for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from schemas.errors import TopicGoneError

#: How often a reader asks, in seconds: one small request.
CHECK_S: Final = 2.0

#: Longest time to an answer, in seconds.
_TIMEOUT_S: Final = 5.0

#: A broker that was just started may not know its topics yet: a topic is gone when it was not there so many times.
_SURE: Final = 2


class TopicWatch:
    """Asks for the topic's id every ``CHECK_S`` seconds; another id is another topic, with offsets of its own.

    Args:
        topic: Its name.
        client_config: librdkafka settings.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self, topic: str, client_config: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._config = {"log_level": 0, **client_config}
        self._clock = clock
        self._admin: AdminClient | None = None
        self._request: Future[TopicDescription] | None = None
        self.begin()

    def begin(self) -> None:
        """Take the topic that is there now for the right one; first asked for after ``CHECK_S``."""
        self._id: str | None = None
        self._missing = 0
        self._request = None
        self._due = self._clock() + CHECK_S

    def check(self) -> None:
        """Ask where it is time to, and look at the answer where there is one; never waits.

        Raises:
            TopicGoneError: The topic was deleted, or made anew.
        """
        if self._request is not None:
            if self._request.done():
                request, self._request = self._request, None
                self._answered(request)
        elif self._clock() >= self._due:
            self._due = self._clock() + CHECK_S
            self._request = self._ask()

    def _ask(self) -> Future[TopicDescription]:
        if self._admin is None:  # most readers end before they ask
            self._admin = AdminClient(self._config)
        asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_TIMEOUT_S)
        answer: Future[TopicDescription] = asked[self._topic]
        return answer

    def _answered(self, request: Future[TopicDescription]) -> None:
        try:
            found = str(request.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                return  # no broker answers, or none that tells: nothing is known
            self._missing += 1
            if self._missing >= _SURE:
                raise TopicGoneError(f"the topic {self._topic} was deleted; start a worker, which makes it") from error
            return
        self._missing = 0
        if self._id is None:
            self._id = found
        elif self._id != found:
            raise TopicGoneError(
                f"the topic {self._topic} was deleted and made anew: its cursors are void; begin without one"
            )
