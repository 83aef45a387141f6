"""Does what a page says, in a fresh folder, as its reader would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.pages.page import Block
from tests.support.pages.shown import is_shown
from tests.support.processes import environment

_BLOCK_S = 180.0
_STOP_S = 60.0
_POLL_S = 0.02
_READY = re.compile(r"\bis (up|ready)\b")

#: What Ctrl-C leaves behind: an orderly end, or an interrupted one.
_STOPPED = {0, 130, -signal.SIGINT}

#: What a page that ends it itself leaves behind.
_ENDED = {0, -signal.SIGKILL}

#: The reader's tools, of this environment; of make the verbs that only start something of ours.
_TOOLS = {
    "python": f'exec "{sys.executable}" "$@"',
    "barnabas": f'exec "{sys.executable}" -m barnabas "$@"',
    "make": 'case "$*" in up) exec barnabas up ;; *) echo "no test runs: make $*" >&2; exit 2 ;; esac',
}


@dataclass(slots=True)
class _Background:
    """A block that runs until the page's end; ``text`` is what the page says."""

    block: Block
    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        return self.output.read_text(errors="replace")


class PageRun:
    """A reader at work.

    ::

        ```python             a script; with ``# name.py`` as its first line: a file to write
        ```yaml               a file to write, ``# name.yaml`` being its first line
        ```sh                 bash, which ends at the first command that fails
        ```sh fails           ... and has to fail
        ```sh background      runs to the page's end, is waited for until it says that it is up or ready; begun again
                              with the same text, the first one is stopped as by Ctrl-C
        ```sh background quiet    ... is not waited for
        ```console            what the block before it puts out (see ``shown``)

    Args:
        folder: Empty; what is run is run here.
        env: Further variables.
        stand_ins: What stands in a page, such as an address, to what it is here.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], stand_ins: Mapping[str, str]) -> None:
        self._folder = folder
        self._stand_ins = dict(stand_ins)
        tools = folder / ".venv" / "bin"
        tools.mkdir(parents=True)
        for name, line in _TOOLS.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)
        self._env = environment({**env, "PATH": f"{tools}:{os.environ['PATH']}"})
        self._background: list[_Background] = []
        self._output: str | None = None

    def run(self, blocks: Sequence[Block]) -> None:
        """Run the blocks of one page in order.

        Raises:
            AssertionError: One did not do what the page says; page, line and output are in the text.
        """
        with self._stopping():
            for block in blocks:
                if block.not_run is not None:
                    self._output = None
                elif block.file_name is not None:
                    self._write(block, block.file_name)
                elif block.language == "console":
                    self._check_shown(block)
                elif block.language == "python":
                    self._run(block, [sys.executable, "-"], stdin=self._local(block.text))
                elif "background" in block.flags:
                    self._start(block)
                elif block.language == "sh":
                    self._run(block, ["bash", "-euo", "pipefail", "-c", self._local(block.text)])

    def _write(self, block: Block, name: str) -> None:
        text = self._local(block.text)
        if block.language == "yaml":
            yaml.safe_load(text)
        else:
            compile(text, str(block), "exec")
        (self._folder / name).write_text(text)

    def _run(self, block: Block, command: list[str], *, stdin: str = "") -> None:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._env,
            cwd=self._folder,
            start_new_session=True,
        ) as process:
            try:
                self._output, _ = process.communicate(stdin, timeout=_BLOCK_S)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                said, _ = process.communicate()
                raise AssertionError(f"{block} took over {_BLOCK_S:g} s; it said:\n{said}{self._said()}") from error
        has_failed = process.returncode != 0
        assert has_failed is ("fails" in block.flags), (
            f"{block} ended with {process.returncode}:\n{block.text}\n{self._output}{self._said()}"
        )

    def _start(self, block: Block) -> None:
        for earlier in self._background:
            if earlier.block.text == block.text and earlier.process.poll() is None:
                self._stop(earlier)
        output = self._folder / f"background-{len(self._background)}.out"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self._local(block.text)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._folder,
                start_new_session=True,
            )
        running = _Background(block, process, output)
        self._background.append(running)
        deadline = time.monotonic() + _BLOCK_S
        while "quiet" not in block.flags and not _READY.search(running.said()):
            assert process.poll() is None, f"{block} ended with {process.returncode}:\n{running.said()}"
            assert time.monotonic() < deadline, f"{block} is not ready after {_BLOCK_S:g} s:\n{running.said()}"
            time.sleep(_POLL_S)
        self._output = running.said()

    def _check_shown(self, block: Block) -> None:
        assert self._output is not None, f"{block} shows the output of nothing"
        shown = self._local(block.text)
        assert is_shown(shown, self._output), f"{block} shows\n{shown}\nbut what was put out is\n{self._output}"

    def _local(self, text: str) -> str:
        for word, here in self._stand_ins.items():
            text = text.replace(word, here)
        return text

    def _said(self) -> str:
        return "".join(f"\n--- {running.block} in the background:\n{running.said()}" for running in self._background)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop at the end what runs, the newest first; kill what does not heed it."""
        try:
            yield
            for running in reversed(self._background):
                self._stop(running)
        finally:
            for running in self._background:
                if running.process.poll() is None:
                    os.killpg(running.process.pid, signal.SIGKILL)
                    running.process.wait()

    def _stop(self, running: _Background) -> None:
        """Press Ctrl-C."""
        if running.process.poll() is not None:  # the page ended it
            assert running.process.returncode in _ENDED, f"{running.block} failed:\n{running.said()}"
            return
        os.killpg(running.process.pid, signal.SIGINT)
        try:
            code = running.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{running.block} does not heed Ctrl-C:\n{running.said()}") from error
        assert code in _STOPPED, f"{running.block} ended with {code}:\n{running.said()}"
