"""A worker process for tests: ``python -m tests.support.worker_main SPEC.json``; see :class:`WorkerSpec`.

The real worker, the scripted provider, and faults where the test asks for them. Prints one JSON line when ready.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from streams.agent import Agent, Agents
from streams.monitoring.hard_exit import HardExit
from streams.options import ConsumerOptions, Limits, MonitoringOptions, ReadOptions, WatchdogOptions
from streams.providers.protocol import Timeouts
from streams.providers.scripted import Script, ScriptedProvider
from streams.worker import Worker
from streams.worker_options import WorkerOptions
from tests.support.effects import effect_tools
from tests.support.faults import Faults, inject, switch_off
from tests.support.wedges import WEDGES

#: For a model that hangs until the test lets go of it: no limit of a call ends it.
PATIENT = Timeouts(first_token_s=600.0, between_tokens_s=600.0, total_s=600.0)


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a test's worker is told."""

    bootstrap_servers: str
    data_dir: str
    prefix: str
    partitions: int
    name: str
    script: Script
    calls_path: str
    limits: dict[str, Any] = {}
    consumer: dict[str, Any] = {}
    monitoring: dict[str, Any] = {}
    watchdog: dict[str, Any] = {}
    reads: dict[str, Any] = {}
    faults: Faults = Faults()
    effects_path: str = ""
    wedge: str = ""
    standby_replicas: int = 0

    def options(self) -> WorkerOptions:
        """The worker's own options."""
        return WorkerOptions(
            bootstrap_servers=self.bootstrap_servers,
            data_dir=Path(self.data_dir),
            prefix=self.prefix,
            partitions=self.partitions,
            name=self.name,
            standby_replicas=self.standby_replicas,
            limits=Limits(**{"turn_timeout_s": 600.0, **self.limits}),
            monitoring=MonitoringOptions(**self.monitoring),
            watchdog=WatchdogOptions(**self.watchdog),
            reads=ReadOptions(
                **{name: SecretStr(value) if name == "secret" else value for name, value in self.reads.items()}
            ),
            consumer=ConsumerOptions(**{"commit_interval_s": 0.2, "heartbeat_interval_s": 0.5, **self.consumer}),
        )

    def agents(self) -> Agents:
        """One agent, ``assistant``, that follows the script and writes its calls and its tools' effects down."""
        provider = ScriptedProvider(self.script, calls_path=Path(self.calls_path))
        tools = effect_tools(Path(self.effects_path))
        agent = Agent(name="assistant", model="scripted", provider=provider, tools=tools, max_steps=4, timeouts=PATIENT)
        return Agents({"assistant": agent}, default="assistant")


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run the worker to its end."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True
    )
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerSpec)
    inject(spec.faults)
    if spec.wedge:
        WEDGES[spec.wedge]()
    switch_off(os.environ.get("BARNABAS_TEST_OFF", ""))

    def ready(worker: Worker) -> None:
        import faust.streams

        reads = worker.reads.url if worker.reads is not None else None
        _say("ready", worker=worker.name, is_cython=faust.streams._CStreamIterator is not None, reads=reads)

    async def run() -> int:
        worker = Worker(spec.options(), spec.agents(), on_ready=ready)
        try:
            return await worker.run()
        finally:
            HardExit().within(worker.options.watchdog.end_s, "the process did not end")

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
