"""What every partition of a worker shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.serdes import Codec
from state.write_path import WritePath
from streams.agent import Agents
from streams.calls import Calls
from streams.lease import Lease
from streams.monitoring.figures import Figures
from streams.options import Limits
from streams.pool import TurnPool
from streams.publisher import Publisher
from streams.tool_runner import ToolRunner
from streams.tracing import NO_TRACING, Tracing
from topics.names import TopicNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Collaborators of a worker's partitions, made once by the composition root.

    Attributes:
        worker: The worker's name, unique in the deployment.
        partitions: N, fixed for the deployment.
        fail: Ends the worker with this error.
        figures: What is counted.
        tracing: Makes the turns' traces.
    """

    worker: str
    partitions: int
    names: TopicNames
    codec: Codec
    publisher: Publisher
    write_path: WritePath
    agents: Agents
    pool: TurnPool
    lease: Lease
    limits: Limits
    fail: Callable[[BaseException], None]
    calls: Calls
    tools: ToolRunner
    figures: Figures = field(default_factory=Figures)
    tracing: Tracing = NO_TRACING
