"""What an operator may set on a worker, with the defaults; light to import, since settings read them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

_LAST_PORT: Final = 65_535

#: Shortest secret that is taken for one: 16 random characters are beyond guessing.
MIN_SECRET_CHARS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a worker, each with the failure it prevents.

    Attributes:
        max_turns: Turns running at once in this worker.
        turn_timeout_s: Longest a turn may take from its slot on, in seconds: its message holds back the partition's
            commit.
        max_text_chars: Longest user text, in characters; a longer one is a dead letter.
        max_answer_chars: Longest answer, in characters; at 4 bytes each it fits into one token record of 1 MiB.
        high_water: Messages begun and not done at which fetching of ``messages`` is held (P2). Sessions at work have
            a bound of their own below ``max_turns``, found from the load; this one is for what waits in their lanes,
            or for its agent's share.
        low_water: ... and at which it goes on. Meanwhile a partition goes on while it holds less than its part of
            this, so that those who wait hold up their own partition alone.
        max_unconfirmed: Session values waiting for the broker at which fetching of ``events`` is held.
        shed_lag_s: Age of a message, in seconds, at which it is rejected as ``overloaded`` instead of answered; None:
            never. By its record's timestamp, which is the broker's clock.
        max_early_cancels: Cancels remembered for messages that have not come yet, a partition.
        drain_timeout_s: After SIGTERM, how long running turns may go on, in seconds.
        recovery_timeout_s: Longest a recovery may take, in seconds.
    """

    max_turns: int = 1000
    turn_timeout_s: float = 120.0
    max_text_chars: int = 100_000
    max_answer_chars: int = 250_000
    high_water: int = 4000
    low_water: int = 2000
    max_unconfirmed: int = 20_000
    shed_lag_s: float | None = None
    max_early_cancels: int = 1000
    drain_timeout_s: float = 10.0
    recovery_timeout_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """The group's timing, in seconds.

    Attributes:
        session_timeout_s: Without a heartbeat for so long a worker is taken for dead; the pause after a kill (B1).
            6 s is the least a broker allows by default.
        heartbeat_interval_s: How soon a rebalance is noticed, and with it the pause when a worker leaves; half of the
            session time-out at most, so that one lost heartbeat does no harm.
        rebalance_timeout_s: How long the group waits for a member to join again.
        commit_interval_s: How often offsets are committed; what is behind is folded again after a failure.
    """

    session_timeout_s: float = 6.0
    heartbeat_interval_s: float = 0.5
    rebalance_timeout_s: float = 20.0
    commit_interval_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringOptions:
    """The HTTP endpoint of a worker: ``/healthz``, ``/readyz``, ``/metrics``.

    Attributes:
        enabled: Whether there is one.
        host: The address it listens on; nothing there is secret, and nothing is asked for.
        port: Its port, 0 for a free one. ``barnabas up`` gives its n-th worker ``port + n - 1``.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own and nobody else's; a name other than ``localhost`` never is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """A worker's read interface: gateways ask it for the sessions that the worker owns.

    What it shows is what users said. Beyond loopback it answers only who knows the secret; the traffic is plain HTTP,
    for a private network, or behind a proxy that speaks TLS (``url`` then begins with ``https``).

    Attributes:
        enabled: Whether there is one; without it gateways fold the log.
        host: The address it listens on.
        port: Its port, 0 for a free one. ``barnabas up`` gives its n-th worker ``port + n - 1``.
        url: How gateways reach it, such as ``http://10.0.0.7:9465``; made of host and port unless given.
        secret: What gateways and workers share; required where ``host`` is not a loopback address.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    url: str | None = None
    secret: SecretStr | None = field(default=None, repr=False)

    def problem(self) -> tuple[str, str] | None:  # noqa: PLR0911 -- one for each mistake
        """Return the field that cannot be as it is, and why; None where all is well."""
        if not 0 <= self.port <= _LAST_PORT:
            return "port", f"{self.port} is impossible; it is 0 (a free one) to {_LAST_PORT}"
        if self.secret is not None and not self.secret.get_secret_value().isascii():
            return "secret", "only ASCII can be sent in a header"
        if self.secret is not None and len(self.secret.get_secret_value()) < MIN_SECRET_CHARS:
            return "secret", f"it is too short to be one; at least {MIN_SECRET_CHARS} characters"
        if not is_loopback(self.host) and self.secret is None:
            return "secret", f"{self.host} is reached from other machines, and what users said is read there; set one"
        if self.url is not None and not _is_address(self.url):
            return "url", "it is no address; it begins with http:// or https://"
        if self.url is None and self.host in {"0.0.0.0", "::"}:  # noqa: S104 -- compared, not listened on
            return "url", f"{self.host} is no address that a gateway could call; say how this worker is reached"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingOptions:
    """OpenTelemetry traces over OTLP/HTTP; the customary ``OTEL_*`` variables are honoured.

    Attributes:
        enabled: On; ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` switch it on as well.
        endpoint: Where spans go, such as ``http://localhost:4318/v1/traces``; OpenTelemetry's own default where absent.
        service_name: ``service.name`` of the spans, below ``OTEL_SERVICE_NAME``.
    """

    enabled: bool = False
    endpoint: str | None = None
    service_name: str = "barnabas"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogOptions:
    """When a worker that makes no progress ends, in seconds; ``/healthz`` is 503 before that.

    Attributes:
        slack_s: On top of each bound that the worker keeps by itself: a turn's, a recovery's; the consumer polls
            at least once within it. ``/healthz`` is 503 once half of it is over.
        loop_block_s: Longest the event loop may be blocked. The built-in model blocks it for up to a second. Code that
            holds the whole interpreter ends the process after this and ``slack_s``.
        end_s: Longest the end of a stuck worker may take, and that of the process once its worker has ended; then
            it ends as it is.
    """

    slack_s: float = 60.0
    loop_block_s: float = 30.0
    end_s: float = 30.0
