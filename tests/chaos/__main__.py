"""``python -m tests.chaos --seed 7 --minutes 1``; ``make chaos`` calls it."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from tests.chaos.plan import EVERY_S, Kind, make_plan
from tests.chaos.report import write_reports
from tests.chaos.run import Options, run_many

_OUTAGE = (
    "longest without a broker, s (default: a sixth of the run, 30 at most; and one of just 30 in a run of two minutes "
    "or more, and in that of every fifth seed)"
)


def main() -> int:
    """Run chaos; the exit code is 1 where a promise was broken."""
    options = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    first = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="barnabas-chaos-"))
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - began:7.1f}] {text}\n")
        sys.stdout.flush()

    plans = [
        make_plan(
            first + number, options.minutes * 60, workers=options.workers, every_s=options.every,
            max_outage_s=options.max_outage, kinds=tuple(options.kinds or Kind),
        )
        for number in range(options.runs)
    ]  # fmt: skip
    say(f"SEED={first}; logs in {folder}")
    how = Options(
        rate=options.rate, sessions=options.sessions, partitions=options.partitions, off=options.off,
        patience_s=options.patience,
    )  # fmt: skip
    reports = run_many(plans, folder, how, say=say, keep=options.keep)
    write_reports(reports, options.report or folder)
    say(f"report: {(options.report or folder) / 'chaos.md'}")
    broken = [report for report in reports if not report.verdict.is_clean]
    for report in broken:
        schedule = "\n".join(map(str, report.plan.faults))
        say(f"VIOLATED with {report.options}; kept in {report.folder}; the schedule was\n{schedule}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument("--seed", type=int, help="the first run's; drawn and printed unless given")
    parser.add_argument("--minutes", type=float, default=1.0, help="of load, a run (default: 1)")
    parser.add_argument("--runs", type=int, default=1, help="with seeds that follow each other (default: 1)")
    parser.add_argument("--workers", type=int, default=0, help="1 to 4 by the seed unless given")
    parser.add_argument("--rate", type=float, default=usual.rate, help="of the load, a second")
    parser.add_argument("--sessions", type=int, default=usual.sessions)
    parser.add_argument("--partitions", type=int, default=usual.partitions)
    parser.add_argument("--every", type=float, default=EVERY_S, help=f"mean s between faults (default: {EVERY_S:g})")
    parser.add_argument("--max-outage", type=float, default=0.0, help=_OUTAGE)
    parser.add_argument("--kinds", type=Kind, nargs="+", metavar="KIND", help=f"of {', '.join(Kind)}; all unless given")
    parser.add_argument("--off", default="", help="mechanisms to take away (BARNABAS_TEST_OFF), comma separated")
    parser.add_argument("--patience", type=float, default=usual.patience_s, help="for the next outcome, s")
    parser.add_argument("--report", type=Path, help="folder of chaos.md and chaos.json; the logs' unless given")
    parser.add_argument("--keep", action="store_true", help="keep the folders of clean runs, too")
    return parser.parse_args()


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    """End as by Ctrl-C, so that what runs is ended, too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
