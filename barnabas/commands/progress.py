"""A bar for what takes long, on a terminal's stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """What moves it: ``bar(done, total)``."""

    def __init__(self, drawn: Progress, task: TaskID) -> None:
        self._drawn = drawn
        self._task = task

    def __call__(self, done: int, total: int) -> None:
        """Say how far it is."""
        self._drawn.update(self._task, completed=done, total=max(done, total))

    def stop(self) -> None:
        """Take it off the screen, which what is printed next may share."""
        self._drawn.stop()


@contextmanager
def progress(text: str, *, is_shown: bool = True) -> Iterator[Bar | None]:
    """Hand out a bar; None where nobody would see it."""
    if not is_shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    # What is printed meanwhile stays where it is sent: rich would take stdout to its own console, stderr.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False) as drawn:
        yield Bar(drawn, drawn.add_task(text, total=None))
