"""A gateway as a process, beside a test's deployment."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from tests.support.deployment import Deployment
from tests.support.processes import BarnabasProcess

_numbers = itertools.count(1)


class GatewayProcess(BarnabasProcess):
    """``barnabas gateway --json`` on a free port, and patient; see :class:`BarnabasProcess` and ``patience.py``.

    Args:
        deployment: Whose topics it serves; the deployment does not end it.
        env: Further variables (None removes one).
        arguments: Further options of the command.
    """

    def __init__(
        self, deployment: Deployment, *, env: Mapping[str, str | None] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        number = next(_numbers)
        super().__init__(
            ("gateway", "--json", *arguments),
            env={
                "KAFKA_BOOTSTRAP_SERVERS": deployment.bootstrap_servers,
                "BARNABAS_PREFIX": deployment.names.prefix,
                "BARNABAS_DATA_DIR": str(deployment.folder / f"gateway-{number}"),
                "BARNABAS_GATEWAY__PORT": "0",
                "BARNABAS_TEST_OFF": os.environ.get("BARNABAS_TEST_OFF"),
                **(env or {}),
            },
            log=deployment.folder / f"gateway-{number}.log",
            module="tests.support.gateway_main",
        )

    @property
    def url(self) -> str:
        """Its address, once it is ready."""
        url: str = self.wait_ready()["gateway"]
        return url
