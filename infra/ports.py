"""Free TCP ports on this machine."""

from __future__ import annotations

import random
import socket

from schemas.errors import BrokerError

HOST = "127.0.0.1"
DEFAULT_PORT = 9092

# Below the ephemeral range (Linux: 32768 and up). A client that keeps calling a port of that range while the broker
# is down can be given the very same port as its own, and then talks to itself and keeps the broker from coming back.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket() as probe:
        # As Java does: connections of a former server that linger are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_port(*taken: int) -> int:
    """Return a port that is free now and is not one of ``taken``.

    Raises:
        BrokerError: None was found.
    """
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), _TRIES):
        if port not in taken and is_free(port):
            return port
    raise BrokerError(f"no free port between {_FIRST} and {_LAST} on {HOST}: end what holds them, or name a port")
