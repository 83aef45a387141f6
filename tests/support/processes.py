"""Real Barnabas processes for tests: started with an environment, waited for until ready, killed by pid, always reaped.

::

    with start_worker(bootstrap_servers=kafka, prefix=prefix, data_dir=tmp_path) as worker:
        worker.wait_ready()
        worker.kill()          # SIGKILL; also stop() (SIGTERM), freeze() (SIGSTOP), thaw() (SIGCONT)

What is still running at the end of the ``with`` is thawed and killed; nothing outlives a test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]

#: A worker is ready in about 3 s on a quiet 2-core machine; ten times that on a busy one.
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.01


def environment(overrides: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment without its own Barnabas settings, plus ``overrides`` (None removes)."""
    foreign = ("BARNABAS_", "KAFKA_", "OPENAI_", "ANTHROPIC_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables["PYTHONPATH"] = str(ROOT)
    for name, value in (overrides or {}).items():
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value
    return variables


class BarnabasProcess:
    """``python -m barnabas ARGUMENTS``; its stdout is read line by line, its stderr goes to a file.

    Attributes:
        popen: The process.
        log: The file with its stderr.
        lines: What it has written to stdout so far.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str | None],
        log: Path,
        cwd: Path | None = None,
        module: str = "barnabas",
    ) -> None:
        """Start it; ``cwd`` is the log's folder unless given, so that no ``barnabas.yaml`` is found by chance.

        ``module`` stands for ``barnabas`` where a test puts something around it.
        """
        self.log = log
        self.arguments = tuple(arguments)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(env),
                cwd=cwd or log.parent,
                text=True,
                start_new_session=True,
            )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def wait_line(self, event: str, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """Wait for a JSON line on stdout whose ``event`` is this one, and return it.

        Raises:
            AssertionError: It ended first, or took too long; its last lines are in the text.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ended = not self.is_running
            if ended:
                self._reader.join(1.0)
            for line in tuple(self.lines):
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict) and found.get("event") == event:
                    return found
            if ended or time.monotonic() > deadline:
                what = f"ended with {self.popen.poll()}" if ended else f"said nothing for {timeout_s:g} s"
                msg = f"barnabas {' '.join(self.arguments)} {what} before {event!r}; it said last:\n{self.tail()}"
                raise AssertionError(msg)
            time.sleep(_POLL_S)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """Wait for its ready line; raises as :meth:`wait_line`."""
        return self.wait_line("ready", timeout_s)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal if it still runs."""
        if self.is_running:
            self.popen.send_signal(signum)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end and return the exit code.

        Raises:
            AssertionError: It did not end; its last lines are in the text.
        """
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            msg = f"barnabas {' '.join(self.arguments)} did not end within {timeout_s:g} s:\n{self.tail()}"
            raise AssertionError(msg) from error
        self._reader.join(5.0)
        return code

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM: an orderly end; returns the exit code, raises as :meth:`wait`."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self.send(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP: a stall beyond any time-out, until :meth:`thaw`."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def tail(self, lines: int = 40) -> str:
        """Return the end of its stderr."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Kill it if it still runs, and reap it."""
        if self.is_running:
            self.popen.kill()  # SIGKILL reaches a stopped process, too
        self.popen.wait()
        self._reader.join(5.0)
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        if self.popen.stdout is None:
            return
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))


def start_worker(
    *,
    bootstrap_servers: str,
    prefix: str,
    data_dir: Path,
    name: str = "",
    model: str = "echo",
    partitions: int = 4,
    env: Mapping[str, str | None] | None = None,
    arguments: Sequence[str] = (),
    log: Path | None = None,
) -> BarnabasProcess:
    """Start ``barnabas worker --json``; call :meth:`BarnabasProcess.wait_ready` before relying on it.

    Args:
        bootstrap_servers: The test's Kafka.
        prefix: The test's topic prefix.
        data_dir: The deployment's data folder; the worker's own is ``workers/NAME`` below it.
        name: ``--name``; the first free ``worker-N`` where empty.
        model: ``BARNABAS_MODEL``.
        partitions: Of every topic.
        env: Further variables, over these (None removes one).
        arguments: Further options of the command.
        log: Its stderr; ``worker-NAME.log`` below ``data_dir`` unless given.
    """
    named = ("--name", name) if name else ()
    return BarnabasProcess(
        ("worker", "--json", *named, *arguments),
        env={
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "BARNABAS_PREFIX": prefix,
            "BARNABAS_DATA_DIR": str(data_dir),
            "BARNABAS_MODEL": model,
            "BARNABAS_PARTITIONS": str(partitions),
            **(env or {}),
        },
        log=log or data_dir / f"worker-{name or 'any'}.log",
    )


def run_barnabas(
    *arguments: str, env: Mapping[str, str | None] | None = None, cwd: Path | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m barnabas ARGUMENTS`` to its end; the exit code is not checked."""
    return subprocess.run(
        [sys.executable, "-m", "barnabas", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(env),
        cwd=cwd,
        timeout=timeout_s,
        check=False,
    )
