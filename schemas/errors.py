"""Every error Barnabas raises on purpose, in one tree.

::

    BarnabasError
    ├── TerminalError            never cured by trying again: dead letter or failed turn
    │   ├── DecodeError          bytes that are no message, control, event or token
    │   ├── EncodeError          a record of ours that its schema cannot hold
    │   ├── InvalidMessageError  decoded, but empty, oversized, keyless, unknown agent or type
    │   ├── UnknownEventError    an event type this version does not know: stops the partition
    │   ├── ProviderError        the model endpoint refused, or answered with nothing
    │   ├── StepLimitError       a model kept asking for tools
    │   ├── CursorError          a cursor that is none, or of another partition
    │   │   └── CursorExpiredError   ... or whose records are gone: ``earliest`` is where to begin
    │   ├── UnauthenticatedError a request that does not say who asks, or not credibly: ``had_credentials``
    │   ├── ForbiddenError       ... or who may not do that: ``scope`` is what it lacks
    │   ├── NotFoundError        ... or for what is not there, or not the caller's
    │   ├── AnswerChangedError   an answer began again with another text, for a reader who can only append
    │   ├── HistoryLostError     the log's beginning is gone: what a session was cannot be folded
    │   └── TurnError            a client's message got no answer; the ids are attributes
    │       ├── TurnFailedError      the turn failed: ``cause`` and ``detail``
    │       ├── TurnCancelledError   it was cancelled: ``text`` is what had been streamed
    │       └── MessageRejectedError the message got no turn: ``cause`` and ``detail``
    ├── RetryableError           may be cured by trying again after ``retry_after`` seconds
    │   ├── ProviderUnavailableError   connection refused, 429, 5xx
    │   ├── ProviderTimeoutError       connect, first token, between tokens or total
    │   ├── RegistryUnavailableError   the schema registry did not answer: nothing is known of the bytes
    │   ├── KeysUnavailableError       the keys that check tokens cannot be had: nothing is known of the caller
    │   ├── DeliveryUnknownError       a record's delivery timed out: it may be in the log or not
    │   │   ├── RecordTooLargeError    ... or was refused for its size: sending it again cannot help
    │   │   └── WriteRefusedError      ... or Kafka lets this user not write there: an ACL is missing
    │   ├── PartitionClosedError       the partition's epoch is over: the next owner goes on
    │   ├── AnswerTimeoutError         nothing ended the turn in time; the message is in Kafka all the same
    │   ├── SessionUnavailableError    neither its owner nor the log tells a session in time
    │   └── SlowSubscriberError        a subscriber took its tokens too slowly: go on from ``cursor``
    └── OperatorError            somebody has to change something; the text says what
        ├── SettingsError        a setting is unknown or impossible
        ├── BrokerError          no Java, no jars, or Kafka did not start
        │   ├── TopicGoneError       a topic was deleted, or made anew, while it was read
        │   └── AccessError          Kafka refused credentials, certificate or right, or we its certificate
        ├── TopicMismatchError   a topic exists with other partitions or settings
        ├── AssignmentError      the topics of one partition number went to different workers
        ├── DamagedLogError      a part of the event log cannot be read: restore it from a replica
        ├── RecoveryError        the local store could not be rebuilt within its deadline
        ├── ClientError          a client that is closed, not begun, or of another event loop
        ├── WorkerStuckError     nothing moves any more: the process ends so that another can go on
        └── StoreError           the local store is corrupt or of a foreign format

``code`` is the stable name that dead letters, ``TurnFailed`` events and ``--json`` output carry.
"""

from __future__ import annotations

from typing import ClassVar


class BarnabasError(Exception):
    """Root of the tree; ``code`` is stable across versions, the text is not."""

    code: ClassVar[str] = "error"


class TerminalError(BarnabasError):
    """Trying again cannot help."""

    code = "terminal"


class RetryableError(BarnabasError):
    """Trying again may help, after ``retry_after`` seconds (None: at once)."""

    code = "retryable"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OperatorError(BarnabasError):
    """Somebody must change something; the message says what to do next."""

    code = "operator"


class DecodeError(TerminalError):
    """Bytes at ``topic-partition@offset`` that decode to nothing known; ``cause`` says why."""

    code = "undecodable"

    def __init__(self, cause: str, *, topic: str, partition: int, offset: int) -> None:
        super().__init__(f"{topic}-{partition}@{offset}: {cause}")
        self.cause = cause
        self.topic = topic
        self.partition = partition
        self.offset = offset


class EncodeError(TerminalError):
    """A record that its Avro schema cannot hold: a number beyond 64 bits, or a field of another type."""

    code = "unencodable"


class InvalidMessageError(TerminalError):
    """A decoded message that cannot become a turn; ``reason`` is a stable code such as ``empty_text``."""

    code = "invalid_message"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UnknownEventError(TerminalError):
    """An event type unknown to this version's fold: going on would corrupt the session."""

    code = "unknown_event"


class CursorError(TerminalError):
    """A text that is no cursor, or a cursor of another session's partition."""

    code = "cursor"


class CursorExpiredError(CursorError):
    """The records behind a cursor are gone by retention; ``earliest`` (a cursor as text) is where to begin."""

    code = "cursor_expired"

    def __init__(self, message: str, *, earliest: str) -> None:
        super().__init__(message)
        self.earliest = earliest


class UnauthenticatedError(TerminalError):
    """A request to the gateway says not who asks, or cannot prove it.

    Attributes:
        had_credentials: Whether it had any; they were nobody's.
    """

    code = "unauthenticated"

    def __init__(self, message: str, *, had_credentials: bool = False) -> None:
        super().__init__(message)
        self.had_credentials = had_credentials


class ForbiddenError(TerminalError):
    """A request to the gateway asks for what its caller may not do.

    Attributes:
        scope: What it lacks; None where no scope would help.
    """

    code = "forbidden"

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class NotFoundError(TerminalError):
    """A request to the gateway asks for what is not there; what belongs to another tenant is not there either."""

    code = "not_found"


class AnswerChangedError(TerminalError):
    """An answer was cut off and began again with another text; its reader cannot take back what it was given."""

    code = "answer_changed"


class HistoryLostError(TerminalError):
    """The log's beginning is gone by retention: what a session was then cannot be folded."""

    code = "history_lost"


class TurnError(TerminalError):
    """A client's message got no answer.

    Attributes:
        session_id: The Kafka key as text.
        turn_id: The turn.
        message_id: The message.
        cause: A stable code; None for a cancelled turn.
        detail: A sentence for people.
        text: What had been streamed of the answer.
        retry_after: Of a message that was shed: seconds to wait before sending it again, under another message id.
    """

    code = "turn"

    def __init__(
        self,
        message: str,
        *,
        session_id: str,
        turn_id: str,
        message_id: str,
        cause: str | None = None,
        detail: str | None = None,
        text: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.session_id, self.turn_id, self.message_id = session_id, turn_id, message_id
        self.cause, self.detail, self.text = cause, detail, text


class TurnFailedError(TurnError):
    """The turn ended without an answer."""

    code = "turn_failed"


class TurnCancelledError(TurnError):
    """Somebody cancelled the turn."""

    code = "turn_cancelled"


class MessageRejectedError(TurnError):
    """The message became a dead letter: it got no turn."""

    code = "message_rejected"


class ProviderError(TerminalError):
    """The model endpoint refused the request, or its answer was empty or malformed."""

    code = "provider_failed"


class StepLimitError(TerminalError):
    """A turn's model still asked for tools after its last step."""

    code = "step_limit"


class ProviderUnavailableError(RetryableError):
    """The model endpoint could not be reached, throttled the call or broke off."""

    code = "provider_unavailable"


class ProviderTimeoutError(RetryableError):
    """A model call outlived one of its limits; ``limit`` is connect, first_token, between_tokens or total."""

    code = "provider_timeout"

    def __init__(self, limit: str, seconds: float) -> None:
        super().__init__(f"the model exceeded its {limit} time-out of {seconds:g} s")
        self.limit = limit
        self.seconds = seconds


class RegistryUnavailableError(RetryableError):
    """The schema registry could not be reached or failed; the record may be sound, so it is no dead letter."""

    code = "registry_unavailable"


class KeysUnavailableError(RetryableError):
    """The keys that tokens are checked with cannot be fetched; the token may be sound."""

    code = "keys_unavailable"

    def __init__(self, retry_after: float) -> None:
        super().__init__("the identity provider's keys cannot be had; try again", retry_after=retry_after)


class DeliveryUnknownError(RetryableError):
    """A record's delivery timed out or failed: whether it is in the log is unknown."""

    code = "delivery_unknown"


class RecordTooLargeError(DeliveryUnknownError):
    """A record is larger than its topic takes; whoever sent it has to make it smaller."""

    code = "record_too_large"


class WriteRefusedError(DeliveryUnknownError):
    """Kafka does not let this user write to a topic; ``barnabas topics acls`` lists what is to be granted."""

    code = "write_refused"


class PartitionClosedError(RetryableError):
    """The partition is no longer ours, or its epoch is over: its next owner carries the turn on."""

    code = "partition_closed"


class AnswerTimeoutError(RetryableError):
    """Nothing ended the turn in time; the message is in Kafka and will be answered.

    Attributes:
        cursor: Where to go on reading, as text.
    """

    code = "answer_timeout"

    def __init__(self, message: str, *, cursor: str) -> None:
        super().__init__(f"{message}; go on from cursor {cursor}")
        self.cursor = cursor


class SessionUnavailableError(RetryableError):
    """No worker answers for a session at the moment, and its log takes long to read."""

    code = "session_unavailable"


class SlowSubscriberError(RetryableError):
    """A subscriber's buffer was full, and it was cut off so that nobody waits for it.

    Attributes:
        cursor: Behind the last record it took, as text: subscribe again with it, and nothing is missed.
    """

    code = "slow_subscriber"

    def __init__(self, message: str, *, cursor: str) -> None:
        super().__init__(message)
        self.cursor = cursor


class ClientError(OperatorError):
    """A client was used before it began, after it was closed, or in another event loop."""

    code = "client"


class SettingsError(OperatorError):
    """A setting is unknown or impossible; the message names the field."""

    code = "settings"


class BrokerError(OperatorError):
    """The embedded broker cannot run: no Java, no jars, no port, or Kafka stopped."""

    code = "broker"


class TopicGoneError(BrokerError):
    """A topic that is being read was deleted, or made anew: nothing more comes, and its cursors are void."""

    code = "topic_gone"


class AccessError(BrokerError):
    """Kafka refused this client's credentials, certificate or right, or we its certificate; again would not help."""

    code = "access"


class TopicMismatchError(OperatorError):
    """A topic exists with other partitions or a setting that breaks a guarantee."""

    code = "topic_mismatch"


class AssignmentError(OperatorError):
    """Messages, control, events and changelog of a partition number are not on one worker."""

    code = "assignment"


class DamagedLogError(OperatorError):
    """Events that cannot be unpacked: whoever goes on behind them has other sessions than the log says."""

    code = "damaged_log"


class RecoveryError(OperatorError):
    """The session table could not be recovered within its deadline."""

    code = "recovery"


class WorkerStuckError(OperatorError):
    """The watchdog found something that should have moved and did not."""

    code = "stuck"


class StoreError(OperatorError):
    """The local store is corrupt, locked or of a foreign format."""

    code = "store"


#: Trouble with a worker's own log, epoch or store: a message is none the worse for it, and its next owner decides it.
OF_THE_WORKER = (DeliveryUnknownError, PartitionClosedError, StoreError)
