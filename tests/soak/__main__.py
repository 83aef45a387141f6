"""``python -m tests.soak [soak|mix|stress] --duration SECONDS``; exit code 1 where anything is wrong.

``soak`` looks for leaks part by part (``make soak DURATION=600``); ``--plant list`` plants one first, to see it found.
``mix`` is what real users do, ``stress`` long messages and long memories, both at a worker process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.broker import Broker
from infra.ports import free_port
from tests.soak.finding import SoakReport
from tests.soak.mix import REALISTIC, STRESS, run_mix
from tests.soak.pace import OnCycle, Pace
from tests.soak.plants import PLANTS, planted
from tests.soak.soak import soak
from tests.support.deployment import Deployment
from topics.names import TopicNames

_MIXES = {"mix": REALISTIC, "stress": STRESS}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("soak", *_MIXES), default="soak")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds in all (default: %(default)g)")
    parser.add_argument("--plant", action="append", default=[], choices=PLANTS, help="a leak to be found")
    parser.add_argument("--agents", type=int, help="how many agents a mix or a stress has")
    parser.add_argument("--seed", type=int, default=1, help="of a mix or a stress")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a running Kafka (default: one of its own)")
    parser.add_argument("--json", action="store_true", help="the report as one line of JSON")
    return parser.parse_args()


def main() -> int:
    """Run and print the report; progress goes to stderr."""
    asked = _parse()
    with tempfile.TemporaryDirectory(prefix="barnabas-soak-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        if asked.kafka:
            report = _run(asked, asked.kafka, folder)
        else:
            with Broker(folder / "broker", free_port(), stops_with_parent=True) as broker:
                state = broker.status()
                assert state is not None
                report = _run(asked, state.bootstrap_servers, folder)
    sys.stdout.write(f"{json.dumps(report.as_dict()) if asked.json else report}\n")
    return 1 if report.faults else 0


def _run(asked: argparse.Namespace, bootstrap_servers: str, folder: Path) -> SoakReport:
    columns = (TextColumn("{task.description:12}"), BarColumn(), TimeElapsedColumn())
    with planted(*asked.plant), Progress(*columns, console=Console(stderr=True)) as progress:
        bars = {}

        def on_cycle(what: str, part: float) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=1.0)
            progress.update(bars[what], completed=part)

        return asyncio.run(_soak_or_mix(asked, bootstrap_servers, folder / "data", on_cycle))


async def _soak_or_mix(
    asked: argparse.Namespace, bootstrap_servers: str, folder: Path, on_cycle: OnCycle
) -> SoakReport:
    prefix = f"soak-{uuid.uuid4().hex[:8]}"
    if asked.what == "soak":
        return await soak(bootstrap_servers, prefix, folder, asked.duration, on_cycle)
    mix = _MIXES[asked.what]
    mix = replace(mix, agents=asked.agents or mix.agents)
    with closing(Deployment(bootstrap_servers, TopicNames(prefix), folder)) as deployment:
        pace = Pace(asked.duration, on_cycle)
        return SoakReport(await run_mix(deployment, mix, pace, name=asked.what, seed=asked.seed))


if __name__ == "__main__":
    sys.exit(main())
