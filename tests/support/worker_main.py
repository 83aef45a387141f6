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

from streams.agent import Agent, Agents
from streams.app import ConsumerOptions
from streams.environment import Limits
from streams.providers.scripted import Script, ScriptedProvider
from streams.worker import Worker, WorkerOptions
from tests.support.faults import Faults, inject, switch_off


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
    faults: Faults = Faults()

    def options(self) -> WorkerOptions:
        """The worker's own options."""
        return WorkerOptions(
            bootstrap_servers=self.bootstrap_servers,
            data_dir=Path(self.data_dir),
            prefix=self.prefix,
            partitions=self.partitions,
            name=self.name,
            limits=Limits(**self.limits),
            consumer=ConsumerOptions(**{"commit_interval_s": 0.2, "heartbeat_interval_s": 0.5, **self.consumer}),
        )

    def agents(self) -> Agents:
        """One agent, ``assistant``, that follows the script and writes its calls down."""
        provider = ScriptedProvider(self.script, calls_path=Path(self.calls_path))
        return Agents({"assistant": Agent(name="assistant", model="scripted", provider=provider)}, default="assistant")


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
    switch_off(os.environ.get("BARNABAS_TEST_OFF", ""))

    def ready(worker: Worker) -> None:
        import faust.streams

        _say("ready", worker=worker.name, is_cython=faust.streams._CStreamIterator is not None)

    async def run() -> int:
        worker = Worker(spec.options(), spec.agents(), on_ready=ready)
        return await worker.run()

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
