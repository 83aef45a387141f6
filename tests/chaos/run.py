"""One run: a broker, workers, a model and a load; the plan's faults; everything healed; the judge."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException

from infra.broker import Broker
from infra.ports import free_port
from schemas.ids import turn_id_for
from tests.chaos.evidence import Effect, Evidence, dump, read_databases, read_lines, read_topics
from tests.chaos.fleet import Fleet
from tests.chaos.injector import Injector
from tests.chaos.judge import judge
from tests.chaos.limits import BROKER_START_S, DOCTOR_S, READY_S, RECOVERY_S, TURN_S
from tests.chaos.load import POISONS, Load
from tests.chaos.patience import Patience
from tests.chaos.plan import Kind, Plan
from tests.chaos.report import RunReport
from tests.chaos.sampler import Sampler
from tests.chaos.tool import EFFECTS
from tests.chaos.verdict import Verdict
from tests.support.checker import LogFold, fold_log
from tests.support.processes import BarnabasProcess, run_barnabas
from tests.support.topic_reader import TopicReader
from topics.admin import ensure_topics
from topics.catalog import catalog
from topics.names import TopicNames

#: Short limits, so that a stalled model costs seconds.
_SETTINGS: Final = {
    "BARNABAS_MODEL": "openai:chaos",
    "BARNABAS_AGENTS": '{"assistant": {"tools": ["tests.chaos.tool:note"]}}',
    "OPENAI_API_KEY": "none-needed",
    "BARNABAS_LIMITS__TURN_TIMEOUT_S": f"{TURN_S:g}",
    "BARNABAS_LIMITS__DRAIN_TIMEOUT_S": "3",
    "BARNABAS_LIMITS__RECOVERY_TIMEOUT_S": f"{RECOVERY_S:g}",
    "BARNABAS_TIMEOUTS__CONNECT_S": "2",
    "BARNABAS_TIMEOUTS__FIRST_TOKEN_S": "3",
    "BARNABAS_TIMEOUTS__BETWEEN_TOKENS_S": "2",
    "BARNABAS_TIMEOUTS__TOTAL_S": "10",
    "BARNABAS_CONSUMER__COMMIT_INTERVAL_S": "0.3",
    "BARNABAS_LOG_LEVEL": "info",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run is made, beside its plan.

    Attributes:
        rate: Actions of the load a second.
        sessions: How many sessions it has.
        partitions: Of every topic.
        off: Mechanisms of the product taken away (``BARNABAS_TEST_OFF``): the judge has to notice.
        patience_s: When everything is healed, the longest time without any further outcome, commit or confirmation.
    """

    rate: float = 25.0
    sessions: int = 100
    partitions: int = 4
    off: str = ""
    patience_s: float = 120.0


class Run:
    """A run in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, options: Options, *, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._options, self._say = plan, folder, options, say
        self._names = TopicNames(f"chaos-{plan.seed}")
        self._broker = Broker(folder / "broker", free_port(), stops_with_parent=True)
        self._stalls: list[tuple[str, str]] = []

    def run(self) -> RunReport:
        """Do it all; what was started is gone afterwards, whatever happens."""
        began = time.monotonic()
        plan, options = self._plan, self._options
        with ExitStack() as stack:
            state = self._broker.start(BROKER_START_S)
            stack.callback(self._broker.stop)
            servers = state.bootstrap_servers
            ensure_topics(servers, catalog(self._names, options.partitions))
            fleet = stack.enter_context(self._fleet(servers, self._model(stack)))
            for number in range(plan.workers):
                fleet.slot(f"w{number + 1}").up()
            self._wait_ready(fleet)
            sampler = Sampler(servers, self._names, options.partitions)
            load = Load(
                plan.seed, servers, self._names, partitions=options.partitions, rate=options.rate,
                sessions=options.sessions,
            )  # fmt: skip
            injector = Injector(plan, fleet, self._broker, say=self._say)
            try:
                sampler.start()
                load.start()
                injector.start()
                time.sleep(plan.load_s)
            finally:
                injector.stop()
                load.stop()
            self._heal(injector, fleet, load)
            self._wait_healthy(servers, fleet)
            self._wait_answered(servers, load)
            self._settled(load.close_sessions(options.patience_s))
            self._wait_answered(servers, load)
            self._wait_committed(sampler)
            sampler.stop()
            for wrong in fleet.stop():
                self._stalls.append(("stop", wrong))
            report = RunReport(plan, self._judge(servers, load, sampler, injector, fleet), "", injector.done)
            report.exits, report.folder = fleet.exits, str(self._folder)
            report.options = f"SEED={plan.seed} MINUTES={plan.duration_s / 60:g}"
            report.seconds = time.monotonic() - began
        return report

    # -- Parts

    def _model(self, stack: ExitStack) -> str:
        model = BarnabasProcess(
            ("--seed", str(self._plan.seed), "--calls", str(self._folder / "calls.jsonl")),
            env={}, log=self._folder / "model.log", module="tests.chaos.model",
        )  # fmt: skip
        stack.enter_context(model)
        return str(model.wait_ready()["base_url"])

    def _fleet(self, servers: str, model_url: str) -> Fleet:
        env: dict[str, str | None] = {
            **_SETTINGS,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "OPENAI_BASE_URL": model_url,
            "BARNABAS_PREFIX": self._names.prefix,
            "BARNABAS_PARTITIONS": str(self._options.partitions),
            "BARNABAS_DATA_DIR": str(self._folder / "data"),
            "BARNABAS_STANDBY_REPLICAS": str(self._plan.standby_replicas),
            EFFECTS: str(self._folder / "effects.jsonl"),
        }
        if self._plan.shed_lag_s is not None:
            env["BARNABAS_LIMITS__SHED_LAG_S"] = f"{self._plan.shed_lag_s:g}"
        if self._options.off:
            return Fleet(self._folder, {**env, "BARNABAS_TEST_OFF": self._options.off}, module="tests.chaos.worker")
        return Fleet(self._folder, env)

    # -- Phases

    def _wait_ready(self, fleet: Fleet) -> None:
        for slot in fleet.slots.values():
            if slot.process is not None:
                slot.process.wait_ready(READY_S)

    def _heal(self, injector: Injector, fleet: Fleet, load: Load) -> None:
        """Undo what is done: the broker is up, every worker runs freely."""
        injector.finish()
        self._broker.start(BROKER_START_S)
        for number in range(self._plan.workers):
            slot = fleet.slot(f"w{number + 1}")
            slot.signal(signal.SIGCONT)
            slot.free_disk()
        for name in sorted({wound.worker for wound in injector.wounds if wound.kind == Kind.CORRUPT_RUNNING}):
            try:
                fleet.slot(name).down(signal.SIGTERM)  # the next start has to notice what this one may never have read
            except AssertionError as error:
                self._stalls.append(("stop", str(error).splitlines()[0]))
                fleet.slot(name).down(signal.SIGKILL)
            fleet.slot(name).up()
        self._stalls += [("suite", text) for text in injector.errors]
        self._settled(load.settle(self._options.patience_s))
        self._say(f"healed; {len(load.confirmed)} records confirmed")

    def _settled(self, left: int) -> None:
        if left:
            self._stalls.append(("suite", f"{left} records of the publishers are not confirmed"))

    def _wait_healthy(self, servers: str, fleet: Fleet) -> None:
        """Wait until every worker is ready and owns partitions, and every partition has its owner among them."""
        partitions = self._options.partitions
        wanted = [fleet.slot(f"w{number + 1}") for number in range(self._plan.workers)]
        log = LogFold()
        reader = TopicReader(servers, self._names.events, partitions)
        wrong, patience = ["never asked"], Patience(READY_S)
        try:
            while wrong and not patience.is_over(len(wrong)):
                fold_log(reader.poll(0.2), self._names.events, log)
                owners = {log.owners.get(partition, "nobody") for partition in range(partitions)}
                wrong = [f"{slot.name} is not ready" for slot in wanted if not slot.is_ready]
                wrong += [f"{name} owns a partition" for name in owners - {slot.name for slot in wanted}]
                if partitions >= len(wanted):
                    wrong += [f"{slot.name} owns no partition" for slot in wanted if slot.name not in owners]
        finally:
            reader.close()
        for text in wrong:
            self._stalls.append(("worker", f"{text} {READY_S:g} s after all was healed"))

    def _wait_answered(self, servers: str, load: Load) -> None:
        """Wait until the log holds an outcome of each message, or nothing comes any more."""
        wanted = {
            turn_id_for(confirmed.session_id, confirmed.message_id)
            for confirmed in load.confirmed
            if confirmed.mark not in POISONS
        }
        log, patience = LogFold(), Patience(self._options.patience_s)
        reader = TopicReader(servers, self._names.events, self._options.partitions)
        try:
            while (left := len(wanted - log.outcomes.keys())) and not patience.is_over(left):
                fold_log(reader.poll(0.2), self._names.events, log)
        finally:
            reader.close()
        if left:
            text = f"{left} messages without an outcome; none has come for {self._options.patience_s:g} s"
            self._stalls.append(("stall", text))

    def _wait_committed(self, sampler: Sampler) -> None:
        """Wait until every acknowledgement is committed: a hole would hold a partition back for ever."""
        lag, patience = {"never asked": sys.maxsize}, Patience(self._options.patience_s)
        while lag and not patience.is_over(sum(lag.values())):
            try:
                lag = sampler.lag()
            except KafkaException as error:
                lag = {str(error): sys.maxsize}
            time.sleep(0.2 if lag else 0.0)
        for place in lag:
            self._stalls.append(("stall", f"not committed: {place}"))

    def _judge(self, servers: str, load: Load, sampler: Sampler, injector: Injector, fleet: Fleet) -> Verdict:
        found = Evidence(
            names=self._names,
            partitions=self._options.partitions,
            records=read_topics(servers, self._names, self._options.partitions),
            confirmed=load.confirmed,
            samples=sampler.samples,
            databases=read_databases(fleet.data_dir, injector.damaged),
            effects=[Effect(**line) for line in read_lines(self._folder / "effects.jsonl")],
            calls=read_lines(self._folder / "calls.jsonl"),
            exits=fleet.exits,
            wounds=injector.wounds,
            shed_lag_s=self._plan.shed_lag_s,
            cancel_kept_s=TURN_S,
        )
        verdict = judge(found)
        for kind, text in self._stalls:
            verdict.fault(kind, text)
        self._ask_doctor(servers, fleet, verdict)
        if not verdict.is_clean:
            dump(found.records, self._names, self._folder / "topics")
        return verdict

    def _ask_doctor(self, servers: str, fleet: Fleet, verdict: Verdict) -> None:
        """The product's own audit has to agree; databases with excused damage are put away before."""
        for path in verdict.excused:
            shutil.rmtree(path)
        env: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "BARNABAS_PREFIX": self._names.prefix,
            "BARNABAS_PARTITIONS": str(self._options.partitions),
            "BARNABAS_DATA_DIR": str(fleet.data_dir),
        }
        said = run_barnabas("doctor", "--json", env=env, cwd=self._folder, timeout_s=DOCTOR_S)
        if said.returncode != 0:
            verdict.fault("doctor", (said.stdout + said.stderr)[-2000:])


def run_many(
    plans: Sequence[Plan], folder: Path, options: Options, *, say: Callable[[str], None], keep: bool = False
) -> list[RunReport]:
    """Run plans one after the other; a clean run's folder is removed."""
    reports: list[RunReport] = []
    for plan in plans:
        place = folder / f"seed-{plan.seed}"
        place.mkdir(parents=True, exist_ok=True)
        say(f"seed {plan.seed}: {plan.workers} workers, {len(plan.faults)} faults, pid {os.getpid()}, {place}")
        report = Run(plan, place, options, say=say).run()
        say(str(report))
        reports.append(report)
        if report.verdict.is_clean and not keep:
            shutil.rmtree(place, ignore_errors=True)
            report.folder = ""
    return reports
