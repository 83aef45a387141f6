"""Which Kafka to talk to: one that is named, or the embedded one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from infra.broker import Broker

VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"


def resolve_bootstrap_servers(
    data_dir: Path | None = None,
    *,
    configured: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> str | None:
    """Return the address of the Kafka to use, or None where an embedded broker has to be started first.

    Args:
        data_dir: Where an embedded broker may be running already.
        configured: An address from the settings; it wins.
        environ: Where ``KAFKA_BOOTSTRAP_SERVERS`` is looked up; the process's environment unless given.

    Returns:
        ``host:port[,host:port]`` or None.
    """
    variables = os.environ if environ is None else environ
    named = configured or variables.get(VARIABLE, "").strip()
    if named:
        return named
    state = Broker(data_dir).status() if data_dir is not None else None
    return state.bootstrap_servers if state else None
