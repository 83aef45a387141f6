"""The bar of long commands, on a real terminal."""

from __future__ import annotations

import os
import sys

import pytest

from barnabas.commands.progress import progress


def test_bar_on_a_terminal_leaves_stdout_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed while the bar is there goes to stdout: into a file, say, while stderr is a terminal."""
    ours, its = os.openpty()
    with open(its, "w", encoding="utf-8") as terminal:  # noqa: PTH123 -- a descriptor
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with progress("reading") as bar:
            assert bar is not None
            bar(1, 2)
            sys.stdout.write("before\n")
            bar.stop()
            sys.stdout.write("behind\n")
            bar(2, 2)
        terminal.flush()
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert capsys.readouterr().out == "before\nbehind\n"
    assert "reading" in shown
    assert "before" not in shown
    assert "behind" not in shown


def test_no_bar_without_a_terminal() -> None:
    """Nor where it is not wanted."""
    with progress("reading") as bar:
        assert bar is None
