"""The first contact with Kafka: its metadata, or why this client may not have it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from schemas.errors import AccessError, BrokerError

#: librdkafka tells its reasons only between two calls: a short one is made again.
_CALL_S: Final = 1.0
#: How many of the latest are kept; a broker that is away gives ten a second.
_REASONS: Final = 20

_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

#: What a client that may not do something is to be told.
GRANT: Final = "grant what is listed by: barnabas topics acls"


def is_denied(error: KafkaError) -> bool:
    """Whether an ACL is missing."""
    return error.code() in _DENIED


def refusal(error: KafkaError, servers: str) -> AccessError | None:
    """Return what an error says where trying again cannot help, None for any other one.

    Args:
        error: librdkafka's.
        servers: ``host:port[,host:port]``.
    """
    code, why = error.code(), error.str()
    if code == KafkaError._AUTHENTICATION:  # noqa: SLF001 - its public name
        return AccessError(
            f"Kafka at {servers} refused the credentials ({why}); "
            "look at sasl.mechanism, sasl.username and sasl.password of the setting kafka"
        )
    if code == KafkaError._SSL and "certificate" in why:  # noqa: SLF001
        return AccessError(
            f"no TLS connection to Kafka at {servers} ({why}); look at ssl.ca.location of the setting kafka, "
            "and whether the broker's certificate names this host"
        )
    if is_denied(error):
        return AccessError(f"Kafka at {servers} does not let this user do that ({why}); {GRANT}")
    return None


def reach(servers: str, client_config: Mapping[str, Any], *, timeout_s: float) -> tuple[AdminClient, ClusterMetadata]:
    """Connect, and return the client and all topics that this user may see. Blocks up to ``timeout_s`` seconds.

    Args:
        servers: ``host:port[,host:port]``.
        client_config: Further librdkafka settings.
        timeout_s: Longest time to an answer, in seconds; a refusal comes within two.

    Raises:
        AccessError: Credentials or a certificate were refused.
        BrokerError: No broker answered.
    """
    reasons: deque[KafkaError] = deque(maxlen=_REASONS)
    admin = AdminClient({"log_level": 0, **client_config, "bootstrap.servers": servers, "error_cb": reasons.append})
    give_up = time.monotonic() + timeout_s
    while True:
        left_s = give_up - time.monotonic()
        try:
            return admin, admin.list_topics(timeout=max(0.1, min(_CALL_S, left_s)))
        except KafkaException as error:
            admin.poll(0)
            refused = next(filter(None, (refusal(reason, servers) for reason in reasons)), None)
            if refused is not None:
                raise refused from error
            if left_s <= _CALL_S:
                raise BrokerError(_unreachable(servers, [*reversed(reasons), error.args[0]])) from error


def _unreachable(servers: str, reasons: Sequence[KafkaError]) -> str:
    """Return the text; that all brokers are down says less than what each of them said."""
    down = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - its public name
    why = next(reason.str() for reason in reasons if reason.code() != down)
    return f"Kafka at {servers} failed or did not answer ({why}); is it running?"
