"""How long tests wait for a gateway, and how long their gateways wait for others: longer than a busy machine takes.

Whether an answer comes that has to come depends on no clock then; where all is well nothing waits so long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.support.waiting import DEADLINE_S

#: For one answer over HTTP, in seconds: more than any deadline within a gateway.
ANSWER_S: Final = DEADLINE_S

#: For what comes true by itself, in seconds.
CONDITION_S: Final = DEADLINE_S


def be_patient(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Give this process's gateway more time; ``patch`` is ``setattr``, or ``monkeypatch.setattr``."""
    from barnabas.gateway import log_reads, owner_client, owners
    from barnabas.gateway.security import bounded_protocol

    for module, name, seconds in (
        (log_reads, "PATIENCE_S", 40.0),  # the log's first index
        (owner_client, "_ANSWER_S", 20.0),
        (owner_client, "_CONNECT_S", 20.0),
        (owner_client, "_QUEUE_S", 20.0),
        (owners, "_REQUEST_S", 20.0),
        (bounded_protocol, "_LINGER_S", 40.0),  # the rest of a body that was refused
    ):
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        patch(module, name, seconds)
