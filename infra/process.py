"""Processes that outlive an object: told apart by pid and start time, since a pid is used again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from infra import guard

_POLL_S = 0.02
_HAS_PROC = Path("/proc/self/stat").exists()
_PS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, for ever: no other one has both values.

    Args:
        pid: Its number.
        started: When it started, as the system tells it; opaque.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of a running process, None where there is none."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    def is_running(self) -> bool:
        """Whether that very process still runs (one that is dead but not reaped does not)."""
        return _start_time(self.pid) == self.started

    def send(self, signum: signal.Signals) -> None:
        """Send a signal if the process still runs."""
        if self.is_running():
            try:
                os.kill(self.pid, signum)
            except ProcessLookupError:
                return

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the process; return whether it has ended."""
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True


@dataclass(slots=True)
class Child:
    """A program started by this process, in a session of its own: Ctrl-C in the terminal does not reach it.

    Args:
        process: The program itself.
        popen: What this process started: the program, or the guard around it.
        leash: The write end of the guard's pipe; None for a program that outlives this process.
    """

    process: ProcessId
    popen: subprocess.Popen[bytes]
    leash: int | None

    def reap(self) -> None:
        """Wait for the ended program's remains."""
        if self.leash is not None:
            os.close(self.leash)
            self.leash = None
        self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()


def start(program: list[str], output: Path, *, stops_with_parent: bool) -> Child:
    """Start ``program``, its output appended to the file ``output``.

    Args:
        program: Path and arguments.
        output: The log file.
        stops_with_parent: End it when this process ends, by whatever means; else it runs on.

    Raises:
        OSError: It cannot be started.
    """
    if not stops_with_parent:
        with output.open("ab") as log:
            popen = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return Child(_identify(popen.pid), popen, None)
    theirs, ours = os.pipe()
    try:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(output), *program],
            stdin=theirs,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    line = popen.stdout.readline() if popen.stdout else b""
    if not line:
        os.close(ours)
        popen.wait()
        raise OSError(f"{program[0]} could not be started; see {output}")
    return Child(_identify(int(line)), popen, ours)


def _identify(pid: int) -> ProcessId:
    # A program that ended at once: an identity that no running process has.
    return ProcessId.of(pid) or ProcessId(pid, "ended")


def _start_time(pid: int) -> str | None:
    """Return the start time of a running process; None where it has ended or never was."""
    if _HAS_PROC:
        try:
            # The name, in parentheses, may hold anything; the fields are counted behind it (proc_pid_stat(5)).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        state, started = fields[0], fields[19]
        # Ticks since boot alone could meet again after a reboot.
        return None if state in "ZX" else f"{started}@{_boot_id()}"
    answer = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=_PS_TIMEOUT_S,
        check=False,
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
