"""A worker or a gateway as a child process that ends with this one, however this one ends."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from infra.process import Child, start
from schemas.errors import OperatorError

_TAIL_LINES = 3
_TROUBLE = ("[error", "[critical", '"level": "error"', '"level": "critical"', "Error", "Exception")


class ServiceProcess:
    """``python -m barnabas worker --json``, or another command that runs on, behind a guard; its words go to a file.

    Args:
        command: ``worker`` or ``gateway``.
        log: The file, appended to.
        arguments: Global options of the command line.
        options: Options of the command.

    Attributes:
        ready: Its ready line, once it came.
    """

    def __init__(self, command: str, log: Path, arguments: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        self._name = command
        self._log = log
        self._begin = log.stat().st_size
        self._command = [sys.executable, "-m", "barnabas", *arguments, command, "--json", *options]
        self.started_at = time.monotonic()
        self.ready: dict[str, Any] | None = None
        self._child: Child = start(self._command, log, stops_with_parent=True)

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._child.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._child.process.is_running()

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._log

    def poll_ready(self) -> bool:
        """Whether it has said that it is ready.

        Raises:
            OperatorError: It ended instead; its last words are in the text.
        """
        if self.ready is None:
            is_running = self.is_running  # asked first: what it wrote before its end is read after
            self.ready = next((line for line in self._lines() if line.get("event") == "ready"), None)
            if self.ready is None and not is_running:
                raise OperatorError(f"a {self._name} did not start: {self.last_words()}; more in {self._log}")
        return self.ready is not None

    def last_words(self) -> str:
        """Return why it ended, as far as it said so."""
        for line in reversed(self._lines()):
            if line.get("event") == "error":
                return str(line.get("message"))
        lines = [line for line in self._text().splitlines() if any(mark in line for mark in _TROUBLE)]
        return " | ".join(lines[-_TAIL_LINES:]) or "it said nothing; it may have been killed"

    def terminate(self) -> None:
        """Ask it to finish its turns and end."""
        self._child.process.send(signal.SIGTERM)

    def end(self, timeout_s: float) -> int:
        """Wait for its end, kill it after ``timeout_s`` seconds, and return 0 where it ended in order, else 1."""
        if not self._child.process.wait(timeout_s):
            self._child.process.send(signal.SIGKILL)
            self._child.process.wait(timeout_s)
        self._child.reap()
        return self._child.popen.returncode

    def _text(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self._text().splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found
