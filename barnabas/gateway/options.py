"""What an operator may set on the gateway, with the defaults; light to import, since settings read them."""

from __future__ import annotations

from dataclasses import dataclass, field

from barnabas.gateway.security.options import SecurityOptions, TlsOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """The HTTP gateway.

    Attributes:
        enabled: Whether ``barnabas up`` runs one.
        host: The address it listens on.
        port: Its port, 0 for a free one.
        heartbeat_s: A stream that has been silent for so long is sent a sign of life, in seconds, so that no proxy
            takes it for dead.
        keep_alive_s: How long an idle connection is kept, in seconds; longer than a load balancer in front of it
            keeps its own, else that one writes into connections that have just been closed.
        answer_timeout_s: Longest wait for an answer's end on ``/v1/chat/completions``, in seconds.
        send_timeout_s: Longest a client may take none of what is written to it, in seconds; then it is cut off.
        drain_timeout_s: After SIGTERM, how long answers under way may go on, in seconds; streams that can be resumed
            elsewhere end at once.
        max_body_bytes: Longest request body, and longest message on a WebSocket.
        security: Who reaches it, and how much of it.
        tls: Its own TLS.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8080
    heartbeat_s: float = 15.0
    keep_alive_s: float = 75.0
    answer_timeout_s: float = 180.0
    send_timeout_s: float = 30.0
    drain_timeout_s: float = 10.0
    max_body_bytes: int = 1_000_000
    security: SecurityOptions = field(default_factory=SecurityOptions)
    tls: TlsOptions = field(default_factory=TlsOptions)
